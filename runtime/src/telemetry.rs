//! Logs: to standard error, filtered and formed as the configuration says; those of attempts also to their jobs.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    config::{LogFormat, TelemetrySettings},
    log_capture,
};

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error(
        "telemetry.log_filter = `{filter}` cannot be read: {reason}; use e.g. `info,clara_runtime=debug`"
    )]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else in this process logs already.
    #[error("logs are already set up in this process: {0}")]
    AlreadySetUp(String),
}

/// Sends the logs of this process to standard error, and collects those of attempts; call it once, at the start.
///
/// # Errors
/// [`TelemetryError`] when the filter cannot be read or logs were set up before.
pub fn install(settings: &TelemetrySettings) -> Result<(), TelemetryError> {
    let filter = filter(&settings.log_filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.log_format {
        LogFormat::Json => lines.json().with_filter(filter).boxed(),
        // Colours only for a terminal, and there the library honours NO_COLOR.
        LogFormat::Text if std::io::stderr().is_terminal() => lines.with_filter(filter).boxed(),
        LogFormat::Text => lines.with_ansi(false).with_filter(filter).boxed(),
    };
    let both = tracing_subscriber::registry().with(lines).with(log_capture::layer());
    both.try_init().map_err(|error| TelemetryError::AlreadySetUp(error.to_string()))
}

/// Whether `text` can be used as a filter.
pub(crate) fn is_filter(text: &str) -> bool {
    filter(text).is_ok()
}

/// Drivers log as errors what their callers expect, such as a queue that is not there yet; callers tell what matters.
const QUIET: &str = "lapin=off";

fn filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    let whole = if text.contains("lapin") { text.to_owned() } else { format!("{text},{QUIET}") };
    EnvFilter::builder()
        .parse(whole)
        .map_err(|error| TelemetryError::Filter { filter: text.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests;
