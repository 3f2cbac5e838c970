//! Answers without a score, and why they have none.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One answer that the judge could not score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unscored {
    /// The golden sample.
    pub sample_id: String,
    /// The version that answered.
    pub adapter_id: String,
    /// Why, as a stable code.
    pub reason: UnscoredReason,
    /// Why, with what was found.
    pub detail: String,
}

/// Why the judge could not score an answer; stable codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnscoredReason {
    /// The reply holds no scores that can be read, not even after one request to repair it.
    Unparsable,
    /// The reply lacks the score of a criterion.
    MissingCriterion,
    /// A score is not between 0 and 10.
    ScoreOutOfRange,
    /// The reply was empty.
    EmptyReply,
    /// The reply was cut off before its end.
    Truncated,
    /// The judge refused to answer, or a content filter stopped it.
    Refused,
    /// The endpoint does not accept the request for this sample, e.g. because it is too long.
    RequestRejected,
    /// The endpoint fails for this sample again and again, while it answers for others.
    ServerError,
}

impl UnscoredReason {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::Unparsable,
        Self::MissingCriterion,
        Self::ScoreOutOfRange,
        Self::EmptyReply,
        Self::Truncated,
        Self::Refused,
        Self::RequestRejected,
        Self::ServerError,
    ];

    /// The code in files and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unparsable => "unparsable",
            Self::MissingCriterion => "missing_criterion",
            Self::ScoreOutOfRange => "score_out_of_range",
            Self::EmptyReply => "empty_reply",
            Self::Truncated => "truncated",
            Self::Refused => "refused",
            Self::RequestRejected => "request_rejected",
            Self::ServerError => "server_error",
        }
    }
}

impl fmt::Display for UnscoredReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
