//! What rollout targets serve.
#![expect(clippy::disallowed_macros, reason = "part of the one place that names metrics")]

use super::{ROLLOUT_DRIFT, ROLLOUT_UNREACHABLE, ROLLOUTS, float};

/// Records how many replicas of a rollout target drift, and how many give no answer.
pub fn rollout_seen(target: &str, drifted: usize, unreachable: usize) {
    metrics::gauge!(ROLLOUT_DRIFT, "target" => target.to_owned()).set(float(drifted as u64));
    metrics::gauge!(ROLLOUT_UNREACHABLE, "target" => target.to_owned()).set(float(unreachable as u64));
}

/// Counts a version that was put on a rollout target, or taken back from it.
pub fn rolled_out(target: &str, served: bool) {
    let outcome = if served { "served" } else { "failed" };
    metrics::counter!(ROLLOUTS, "target" => target.to_owned(), "outcome" => outcome).increment(1);
}
