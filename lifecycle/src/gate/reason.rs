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
    /// Bounds mode: the judge gave good scores to bad answers that were planted to try it.
    CanaryFailed,
    /// Bounds mode: fewer scored samples than the policy asks for, clusters taken into account.
    TooFewSamples,
    /// Point mode: the mean is below the limit for review.
    MeanBelowReview,
    /// Bounds mode: even the upper bound is below the limit for review.
    UpperBoundBelowReview,
    /// Bounds mode: worse than the champion by more than the margin, with certainty.
    WorseThanChampion,
    /// Bounds mode: too many answers fail a hard check for any approval.
    TooManyHardFailures,
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
    /// Bounds mode: the samples of one difficulty are below the limit for review, with certainty.
    StratumBelowReview,
    /// Bounds mode: answers fail a hard check.
    HardFailures,
    /// Bounds mode: answers speak to the judge.
    InjectionFlagged,
    /// Bounds mode: the judge's pairwise verdicts change with the order too often.
    JudgeFlips,
    /// Bounds mode: the golden dataset was tried too often.
    ManyEvaluations,
    /// Bounds mode: the judge's scores were never compared with human labels, or do not agree with them.
    JudgeUncalibrated,
    /// Bounds mode: the judge changed since it was compared with human labels.
    JudgeStale,
    /// The mean reaches the threshold for approval.
    MeanReachesApprove,
    /// Bounds mode: the lower bound reaches the guard band.
    LowerBoundReachesGuard,
    /// Bounds mode: not worse than the champion by more than the margin, with certainty.
    NotWorseThanChampion,
}

impl ReasonCode {
    /// All codes.
    pub const ALL: [Self; 23] = [
        Self::NothingScored,
        Self::TooManyUnscored,
        Self::CanaryFailed,
        Self::TooFewSamples,
        Self::MeanBelowReview,
        Self::UpperBoundBelowReview,
        Self::WorseThanChampion,
        Self::TooManyHardFailures,
        Self::MeanBelowApprove,
        Self::LowerBoundBelowGuard,
        Self::MaybeWorseThanChampion,
        Self::ChampionNotComparable,
        Self::NoSpread,
        Self::StratumBelowReview,
        Self::HardFailures,
        Self::InjectionFlagged,
        Self::JudgeFlips,
        Self::ManyEvaluations,
        Self::JudgeUncalibrated,
        Self::JudgeStale,
        Self::MeanReachesApprove,
        Self::LowerBoundReachesGuard,
        Self::NotWorseThanChampion,
    ];

    /// The code in files and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NothingScored => "nothing_scored",
            Self::TooManyUnscored => "too_many_unscored",
            Self::CanaryFailed => "canary_failed",
            Self::TooFewSamples => "too_few_samples",
            Self::MeanBelowReview => "mean_below_review",
            Self::UpperBoundBelowReview => "upper_bound_below_review",
            Self::WorseThanChampion => "worse_than_champion",
            Self::TooManyHardFailures => "too_many_hard_failures",
            Self::MeanBelowApprove => "mean_below_approve",
            Self::LowerBoundBelowGuard => "lower_bound_below_guard",
            Self::MaybeWorseThanChampion => "maybe_worse_than_champion",
            Self::ChampionNotComparable => "champion_not_comparable",
            Self::NoSpread => "no_spread",
            Self::StratumBelowReview => "stratum_below_review",
            Self::HardFailures => "hard_failures",
            Self::InjectionFlagged => "injection_flagged",
            Self::JudgeFlips => "judge_flips",
            Self::ManyEvaluations => "many_evaluations",
            Self::JudgeUncalibrated => "judge_uncalibrated",
            Self::JudgeStale => "judge_stale",
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
