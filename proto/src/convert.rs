//! Wire to lifecycle and back: the only place that knows both.

mod attempt;
mod calibration;
mod curve;
mod hello;
mod ingest;
mod judge;
mod log;
mod names;
mod results;
mod spec;
#[cfg(test)]
mod tests;

pub use attempt::{claim_key, key_to_wire};
pub use hello::welcome_to_wire;
pub use log::time_to_wire;

/// A message that does not fit the lifecycle's types.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` of the message {reason}")]
pub struct ConvertError {
    /// The field, e.g. `spec.method`.
    pub field: &'static str,
    /// What was found and what was expected.
    pub reason: String,
}

impl ConvertError {
    pub(crate) fn missing(field: &'static str) -> Self {
        Self { field, reason: "is missing".to_owned() }
    }

    pub(crate) fn invalid(field: &'static str, error: impl std::fmt::Display) -> Self {
        Self { field, reason: format!("is not valid: {error}") }
    }
}

pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, ConvertError> {
    value.ok_or_else(|| ConvertError::missing(field))
}

pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &'static str,
    text: &str,
) -> Result<T, ConvertError> {
    text.parse().map_err(|error| ConvertError::invalid(field, error))
}
