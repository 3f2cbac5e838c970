//! Logs how far an attempt is at each tenth, so that the log of a job shows it afterwards.

use std::fmt::Write as _;

use clara_lifecycle::attempt::Progress;

/// The tenths that were logged.
#[derive(Debug, Default)]
pub(super) struct Milestones {
    last_tenth: u64,
}

impl Milestones {
    /// Logs the progress when it passed a tenth that was not logged.
    pub(super) fn log(&mut self, progress: &Progress) {
        if let Some(line) = self.reached(progress) {
            tracing::info!("{line}");
        }
    }

    fn reached(&mut self, progress: &Progress) -> Option<String> {
        let total = progress.total.filter(|total| *total > 0)?;
        let tenth = progress.done.saturating_mul(10) / total;
        if tenth <= self.last_tenth {
            return None;
        }
        self.last_tenth = tenth;
        let mut line = format!("{} of {total} {}", progress.done, progress.unit);
        for (name, value) in &progress.figures {
            // Writing to a string does not fail.
            let written = write!(line, ", {name} {}", short(*value));
            debug_assert!(written.is_ok(), "writing to a string failed");
        }
        Some(line)
    }
}

/// Four decimals where they say something: no byte has any, and a learning rate may need more.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e5 => format!("{value:.0}"),
        size if size > 0.0 && size < 1e-2 => format!("{value:.3e}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests;
