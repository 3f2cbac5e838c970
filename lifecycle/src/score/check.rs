//! What the checks without a judge find, and what a failed hard check does to the scores.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AnswerDetails, CriteriaScores, Criterion, Scored};

/// The most accuracy (0–10) that an answer has when it fails a hard check.
pub const HARD_CHECK_ACCURACY: f64 = 2.0;

/// The greatest overall score (0–100) of an answer that fails a hard check: no other criterion buys it back.
pub const HARD_CHECK_OVERALL: f64 = 40.0;

/// A check that an answer failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckFinding {
    /// Stable code, e.g. `citation_missing`; see [`CheckCode`].
    pub code: String,
    /// Whether it caps the accuracy and stands against an approval.
    pub is_hard: bool,
    /// What was found and what was expected.
    pub text: String,
}

/// What an answer can fail by itself: the checks that need no judge, and the rubric's limits; stable names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckCode {
    /// The answer holds nothing that a reader sees.
    Empty,
    /// It holds no statement: punctuation alone, or an opening such as `Thought process:`.
    NoContent,
    /// It shares no word with question and expected output.
    Unrelated,
    /// It says the same over and over.
    Repeated,
    /// It was cut off at the limit of tokens.
    Truncated,
    /// The same answer was given to other prompts that expect something else.
    Duplicated,
    /// It is in another language than expected.
    OtherLanguage,
    /// A provision that must be cited is not.
    CitationMissing,
    /// A text that must occur does not.
    TextMissing,
    /// A text occurs that must not.
    TextForbidden,
    /// Shorter than the sample allows.
    TooShort,
    /// Longer than the sample allows.
    TooLong,
    /// A criterion is at or below the score at which the rubric fails an answer.
    RubricHardFail,
}

impl CheckCode {
    /// All codes, in the order of the checks.
    pub const ALL: [Self; 13] = [
        Self::Empty,
        Self::NoContent,
        Self::Unrelated,
        Self::Repeated,
        Self::Truncated,
        Self::Duplicated,
        Self::OtherLanguage,
        Self::CitationMissing,
        Self::TextMissing,
        Self::TextForbidden,
        Self::TooShort,
        Self::TooLong,
        Self::RubricHardFail,
    ];

    /// The code in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NoContent => "no_content",
            Self::Unrelated => "unrelated",
            Self::Repeated => "repeated",
            Self::Truncated => "truncated",
            Self::Duplicated => "duplicated",
            Self::OtherLanguage => "other_language",
            Self::CitationMissing => "citation_missing",
            Self::TextMissing => "text_missing",
            Self::TextForbidden => "text_forbidden",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::RubricHardFail => "rubric_hard_fail",
        }
    }

    /// A finding that caps the scores.
    pub fn hard(self, text: String) -> CheckFinding {
        CheckFinding { code: self.as_str().to_owned(), is_hard: true, text }
    }

    /// A finding that is only shown.
    pub fn soft(self, text: String) -> CheckFinding {
        CheckFinding { is_hard: false, ..self.hard(text) }
    }
}

impl fmt::Display for CheckCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl AnswerDetails {
    /// Whether the answer failed a hard check.
    pub fn failed_hard(&self) -> bool {
        self.checks.iter().any(|finding| finding.is_hard)
    }

    /// What counts of `scores`: all of them, with the accuracy capped after a failed hard check.
    pub fn counted(&self, scores: &CriteriaScores) -> CriteriaScores {
        if self.failed_hard() {
            scores.with_at_most(Criterion::Accuracy, HARD_CHECK_ACCURACY)
        } else {
            scores.clone()
        }
    }

    /// The overall score that counts, 0–100: what `weigh` makes of what counts of `scores`, capped after a failed hard
    /// check.
    pub fn overall(&self, scores: &CriteriaScores, weigh: impl Fn(&CriteriaScores) -> f64) -> f64 {
        let overall = weigh(&self.counted(scores));
        if self.failed_hard() { overall.min(HARD_CHECK_OVERALL) } else { overall }
    }
}

impl Scored {
    /// The scores that count: as judged, with the accuracy capped after a failed hard check.
    pub fn criteria(&self) -> CriteriaScores {
        self.details.counted(&self.scores)
    }

    /// The overall score that counts, 0–100: what `weigh` makes of the scores that count, capped after a failed hard check.
    pub fn overall(&self, weigh: impl Fn(&CriteriaScores) -> f64) -> f64 {
        self.details.overall(&self.scores, weigh)
    }
}
