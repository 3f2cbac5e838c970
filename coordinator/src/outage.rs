//! Tells a failure that lasts once for each reason, and its end.

use std::fmt::Display;

use tracing::{info, warn};

/// Work that is tried again and again.
#[derive(Debug)]
pub(crate) struct Outage {
    work: &'static str,
    reason: Option<String>,
}

impl Outage {
    /// Of `work`, e.g. `publishing tasks`.
    pub(crate) fn of(work: &'static str) -> Self {
        Self { work, reason: None }
    }

    /// Looks at how the newest try ended, and answers what it gave.
    pub(crate) fn see<T>(&mut self, outcome: Result<T, impl Display>) -> Option<T> {
        match outcome {
            Ok(value) => {
                if self.reason.take().is_some() {
                    info!("{} works again", self.work);
                }
                Some(value)
            }
            Err(error) => {
                let reason = error.to_string();
                if self.reason.as_ref() != Some(&reason) {
                    warn!("{} does not work and is tried again: {reason}", self.work);
                    self.reason = Some(reason);
                }
                None
            }
        }
    }
}
