//! When a failed attempt is repeated, and after which pause.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::Attempt;

/// How often an attempt is repeated before the job pauses as stuck.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Failed attempts of one stage after which the job pauses, counted since the last resume.
    pub max_attempts: u32,
    /// Pause after the first failure in milliseconds; doubles with every further one.
    pub first_pause_ms: u64,
    /// Longest pause in milliseconds.
    pub longest_pause_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 3, first_pause_ms: 1_000, longest_pause_ms: 60_000 }
    }
}

impl RetryPolicy {
    /// The pause after `failures` failures in a row (1 for the first).
    pub fn pause_after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(32);
        let pause = self.first_pause_ms.saturating_mul(1_u64 << doublings);
        Duration::from_millis(pause.min(self.longest_pause_ms))
    }

    /// Whether `failures` failures leave room for another attempt.
    pub fn allows_another(&self, failures: u32) -> bool {
        failures < self.max_attempts
    }
}

/// Why an attempt failed, as the worker reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The attempt.
    pub attempt: Attempt,
    /// What failed, what was expected, what to do.
    pub message: String,
    /// Whether the same attempt may succeed when repeated.
    pub retryable: bool,
}
