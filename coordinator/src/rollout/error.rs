//! Why a version could not be rolled out.

use std::time::Duration;

use clara_lifecycle::fingerprint::{Comparison, FingerprintError};
use clara_runtime::{artifacts::ArtifactError, state::StateError};

use crate::driver::DriverError;

/// Why a replica did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// No answer at all.
    #[error("{url} gives no answer to {call} ({reason}); see whether the server runs and its URL is right")]
    Unreachable { url: String, call: String, reason: String },
    /// No answer in time.
    #[error(
        "{url} did not answer {call} within {within:?}; see what holds it up, or raise the target's timeouts"
    )]
    TooSlow { url: String, call: String, within: Duration },
    /// It stayed busy.
    #[error("{url} was too busy for {call} for {waited:.1?} ({answer}); repeat when it is idle")]
    Busy { url: String, call: String, waited: Duration, answer: String },
    /// It answered with an error.
    #[error("{url} refused {call}: {answer}{hint}")]
    Refused { url: String, call: String, status: u16, answer: String, hint: String },
    /// It answered something else.
    #[error("{url} answered {call} with something else than expected: {reason}")]
    Unreadable { url: String, call: String, reason: String },
    /// It cannot do it as it was started.
    #[error("{url} cannot serve {name}: {reason}")]
    Unable { url: String, name: String, reason: String },
}

impl TargetError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TooSlow { .. } | Self::Busy { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::Unreadable { .. } | Self::Unable { .. } => false,
        }
    }
}

/// Why a version is not served where it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RolloutError {
    /// The settings name no such target.
    #[error("there is no rollout target `{target}`; the coordinators' settings have {known}")]
    UnknownTarget { target: String, known: String },
    /// The version must not or cannot be served.
    #[error("{adapter_id} cannot be rolled out: {reason}")]
    Version { adapter_id: String, reason: String },
    /// The servers cannot take it.
    #[error("{adapter_id} does not fit target {target}: {reason}")]
    DoesNotFit { adapter_id: String, target: String, reason: String },
    /// It could not be staged.
    #[error("cannot stage {name} in {folder}: {reason}")]
    Stage { name: String, folder: String, reason: String },
    /// A replica failed.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A replica took the adapter and does not list it.
    #[error("{url} said that it loaded {name}, but does not list it; it lists {listed}")]
    NotListed { url: String, name: String, listed: String },
    /// There is nothing to compare with.
    #[error("cannot prove what is served: {0}")]
    NoFingerprint(#[from] FingerprintError),
    /// A replica serves other bytes than those that were judged.
    #[error("{url} serves something else than the judged {name}: {comparison}")]
    OtherBytes { url: String, name: String, comparison: Box<Comparison> },
    /// The artifacts are not what was recorded, or cannot be read.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The coordinator's records failed.
    #[error(transparent)]
    Driver(#[from] DriverError),
}

impl RolloutError {
    /// Whether the same rollout may succeed when repeated.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Target(error) => error.is_retryable(),
            Self::Artifact(error) => error.is_retryable(),
            Self::Stage { .. } | Self::Driver(DriverError::State(_)) => true,
            Self::UnknownTarget { .. }
            | Self::Version { .. }
            | Self::DoesNotFit { .. }
            | Self::NotListed { .. }
            | Self::NoFingerprint(_)
            | Self::OtherBytes { .. }
            | Self::Driver(_) => false,
        }
    }
}

impl From<StateError> for RolloutError {
    fn from(error: StateError) -> Self {
        Self::Driver(error.into())
    }
}

impl From<RolloutError> for DriverError {
    fn from(error: RolloutError) -> Self {
        match error {
            RolloutError::Driver(error) => error,
            RolloutError::Artifact(error) => Self::Artifact(error),
            other => Self::Rollout(other.to_string()),
        }
    }
}
