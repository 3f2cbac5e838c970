//! How long a server that fails is asked again, and when that ends.

#[cfg(test)]
mod tests;

use std::time::Duration;

use clara_runtime::config::RemoteSettings;
use tokio::time::Instant;
use tracing::warn;

use crate::fetch::{FetchError, waiting};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why one request failed, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No repetition helps.
    Lasting(String),
    /// A repetition may help.
    Passing(String),
}

/// Repeats with growing pauses until the server gave nothing for too long.
#[derive(Debug)]
pub(super) struct Patience {
    source_name: String,
    limit: Duration,
    last_success: Instant,
    pause: Duration,
}

impl Patience {
    pub(super) fn new(source_name: &str, settings: &RemoteSettings) -> Self {
        Self {
            source_name: source_name.to_owned(),
            limit: settings.patience.0,
            last_success: Instant::now(),
            pause: FIRST_PAUSE,
        }
    }

    /// Something came: begin anew.
    pub(super) fn reset(&mut self) {
        self.last_success = Instant::now();
        self.pause = FIRST_PAUSE;
        waiting::answered();
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// [`FetchError`] when no repetition helps, or patience has ended.
    pub(super) async fn bear(&mut self, trouble: Trouble) -> Result<(), FetchError> {
        let source_name = self.source_name.clone();
        let problem = match trouble {
            Trouble::Lasting(problem) => return Err(FetchError::Refused { source_name, problem }),
            Trouble::Passing(problem) => problem,
        };
        let wait = self.pause;
        if self.last_success.elapsed() + wait > self.limit {
            let problem = format!(
                "{problem}; gave up after {:.0?} without a document (`patience` of the source); check the server, then repeat the stage",
                self.last_success.elapsed()
            );
            return Err(FetchError::Unavailable { source_name, problem });
        }
        warn!(wait_ms = wait.as_millis(), "{source_name} failed and is asked again: {problem}");
        waiting::asked_again(&problem, self.last_success + self.limit);
        tokio::time::sleep(wait).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}
