//! The codes under which the gate gives its reasons; stable, so that scripts may rely on them.

use std::fmt;

use super::Reason;

/// Why the gate decided as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonCode {
    /// No sample has a score.
    NothingScored,
    /// More samples are unscored than the policy allows.
    TooManyUnscored,
    /// Bounds mode: fewer scored samples than the policy asks for.
    TooFewSamples,
    /// Point mode: the mean is below the limit for review.
    MeanBelowReview,
    /// Bounds mode: even the upper bound is below the limit for review.
    UpperBoundBelowReview,
    /// Bounds mode: worse than the champion by more than the margin, with certainty.
    WorseThanChampion,
    /// The mean is below the threshold for approval.
    MeanBelowApprove,
    /// Bounds mode: the lower bound is below the guard band.
    LowerBoundBelowGuard,
    /// Bounds mode: it cannot be excluded that the champion is better by more than the margin.
    MaybeWorseThanChampion,
    /// Bounds mode: too few samples are scored for candidate and champion both.
    ChampionNotComparable,
    /// Bounds mode: every sample has the same score, which says more about the judge than about the answers.
    NoSpread,
    /// Bounds mode: the judge's scores were never compared with human labels.
    JudgeUncalibrated,
    /// The mean reaches the threshold for approval.
    MeanReachesApprove,
    /// Bounds mode: the lower bound reaches the guard band.
    LowerBoundReachesGuard,
    /// Bounds mode: not worse than the champion by more than the margin, with certainty.
    NotWorseThanChampion,
}

impl ReasonCode {
    /// All codes.
    pub const ALL: [Self; 15] = [
        Self::NothingScored,
        Self::TooManyUnscored,
        Self::TooFewSamples,
        Self::MeanBelowReview,
        Self::UpperBoundBelowReview,
        Self::WorseThanChampion,
        Self::MeanBelowApprove,
        Self::LowerBoundBelowGuard,
        Self::MaybeWorseThanChampion,
        Self::ChampionNotComparable,
        Self::NoSpread,
        Self::JudgeUncalibrated,
        Self::MeanReachesApprove,
        Self::LowerBoundReachesGuard,
        Self::NotWorseThanChampion,
    ];

    /// The code in files and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NothingScored => "nothing_scored",
            Self::TooManyUnscored => "too_many_unscored",
            Self::TooFewSamples => "too_few_samples",
            Self::MeanBelowReview => "mean_below_review",
            Self::UpperBoundBelowReview => "upper_bound_below_review",
            Self::WorseThanChampion => "worse_than_champion",
            Self::MeanBelowApprove => "mean_below_approve",
            Self::LowerBoundBelowGuard => "lower_bound_below_guard",
            Self::MaybeWorseThanChampion => "maybe_worse_than_champion",
            Self::ChampionNotComparable => "champion_not_comparable",
            Self::NoSpread => "no_spread",
            Self::JudgeUncalibrated => "judge_uncalibrated",
            Self::MeanReachesApprove => "mean_reaches_approve",
            Self::LowerBoundReachesGuard => "lower_bound_reaches_guard",
            Self::NotWorseThanChampion => "not_worse_than_champion",
        }
    }

    /// The reason with its sentence.
    pub(super) fn because(self, text: String) -> Reason {
        Reason { code: self.as_str().to_owned(), text }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
