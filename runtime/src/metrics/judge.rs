//! What judges are asked, answer and cost.
#![expect(clippy::disallowed_macros, reason = "this records some of the metrics")]

use std::time::Duration;

use super::{JUDGE_BREAKS, JUDGE_COST, JUDGE_DURATION, JUDGE_REQUESTS, JUDGE_TOKENS, SAMPLES_JUDGED};

/// A judge looked at a sample.
pub fn sample_judged(scored: bool) {
    let outcome = if scored { "scored" } else { "unscored" };
    metrics::counter!(SAMPLES_JUDGED, "outcome" => outcome).increment(1);
}

/// A request to a judge took `duration`.
pub fn judge_asked(duration: Duration) {
    metrics::histogram!(JUDGE_DURATION).record(duration.as_secs_f64());
}

/// What came of one request to a judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JudgeOutcome {
    /// A reply.
    Answered,
    /// Too many requests.
    Busy,
    /// No answer, or an error of the server.
    Failed,
    /// The endpoint does not take the request.
    Refused,
    /// An answer that is not what the API gives.
    Garbled,
    /// Nothing was asked: the reply was there already.
    Cached,
}

impl JudgeOutcome {
    const ALL: [Self; 6] =
        [Self::Answered, Self::Busy, Self::Failed, Self::Refused, Self::Garbled, Self::Cached];

    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Garbled => "garbled",
            Self::Cached => "cached",
        }
    }
}

/// A request to a judge ended.
pub fn judge_requested(outcome: JudgeOutcome) {
    metrics::counter!(JUDGE_REQUESTS, "outcome" => outcome.as_str()).increment(1);
}

/// A judge read and wrote tokens, at a price in millionths of a currency where it is known.
pub fn judge_paid(prompt_tokens: u64, reply_tokens: u64, cost_micros: u64) {
    metrics::counter!(JUDGE_TOKENS, "kind" => "prompt").increment(prompt_tokens);
    metrics::counter!(JUDGE_TOKENS, "kind" => "reply").increment(reply_tokens);
    metrics::counter!(JUDGE_COST).increment(cost_micros);
}

/// An endpoint is left alone for a while.
pub fn judge_broke() {
    metrics::counter!(JUDGE_BREAKS).increment(1);
}

/// What a judge-worker counts shows as 0 until it happens.
pub(super) fn started() {
    for outcome in JudgeOutcome::ALL {
        metrics::counter!(JUDGE_REQUESTS, "outcome" => outcome.as_str()).increment(0);
    }
    judge_paid(0, 0, 0);
    metrics::counter!(JUDGE_BREAKS).increment(0);
}
