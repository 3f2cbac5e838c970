//! Scores: what a judge says about one answer, and the evaluation of a whole golden dataset.

mod check;
mod details;
mod evaluation;
mod gap;
mod health;
mod pairwise;
mod reading;
#[cfg(test)]
mod tests;
mod unscored;

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use check::{CheckCode, CheckFinding, HARD_CHECK_ACCURACY, HARD_CHECK_OVERALL};
pub use details::{AnswerDetails, CriterionVote, Flag, JudgeVote, Scoring, TextMetrics};
pub use evaluation::{
    ChampionEvaluation, ChampionScore, Evaluation, EvaluationContext, JudgeIdentity, Judgement, SampleScore,
    Scored, Summary,
};
pub use gap::{GapSeverity, GapStatus, KnowledgeGap, UnknownGapWord};
pub use health::JudgeHealth;
pub use pairwise::{PairwiseReport, PairwiseResult, Preference};
pub use unscored::{Unscored, UnscoredReason};

/// What an answer is scored by, each from 0 to 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// Is it right, measured by the expected output?
    Accuracy,
    /// Does it answer what was asked?
    Relevance,
    /// Is it in the language of the domain?
    Style,
    /// Does it hold everything that the expected output holds?
    Completeness,
    /// Does it follow from sentence to sentence?
    Coherence,
}

impl Criterion {
    /// All criteria, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Accuracy, Self::Relevance, Self::Style, Self::Completeness, Self::Coherence];

    /// The name in files, prompts and replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Relevance => "relevance",
            Self::Style => "style",
            Self::Completeness => "completeness",
            Self::Coherence => "coherence",
        }
    }

    /// How much it counts in the overall score, where the rubric says nothing else.
    pub fn weight(self) -> f64 {
        match self {
            Self::Accuracy => 2.0,
            Self::Relevance | Self::Completeness => 1.5,
            Self::Style | Self::Coherence => 1.0,
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A text that names no criterion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a criterion; expected accuracy, relevance, style, completeness or coherence")]
pub struct UnknownCriterion {
    /// The text as given.
    pub found: String,
}

impl FromStr for Criterion {
    type Err = UnknownCriterion;

    fn from_str(text: &str) -> Result<Self, UnknownCriterion> {
        Self::ALL
            .into_iter()
            .find(|criterion| criterion.as_str() == text)
            .ok_or_else(|| UnknownCriterion { found: text.to_owned() })
    }
}

/// Scores from 0 to 10 by criterion: at least one, never out of range. Criteria that do not apply to a sample have
/// none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<Criterion, f64>", into = "BTreeMap<Criterion, f64>")]
pub struct CriteriaScores(BTreeMap<Criterion, f64>);

/// Scores that do not cover the criteria, or lie out of range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidScores {
    /// There is no score at all.
    #[error("there is no score for any criterion; expected at least one")]
    Empty,
    /// A criterion has no score.
    #[error("there is no score for {0}; expected one for each criterion that was asked for")]
    Missing(Criterion),
    /// A score is not between 0 and 10.
    #[error("the score for {criterion} is {found}; expected 0 to 10")]
    OutOfRange {
        /// The criterion.
        criterion: Criterion,
        /// The score as given.
        found: f64,
    },
}

impl CriteriaScores {
    /// Takes `scores` when there is one from 0 to 10 for every criterion.
    ///
    /// # Errors
    /// [`InvalidScores`] names the first criterion that has no score, or one out of range.
    pub fn new(scores: BTreeMap<Criterion, f64>) -> Result<Self, InvalidScores> {
        match Criterion::ALL.into_iter().find(|criterion| !scores.contains_key(criterion)) {
            Some(missing) => Err(InvalidScores::Missing(missing)),
            None => Self::of(scores),
        }
    }

    /// Takes `scores` from 0 to 10 for some of the criteria.
    ///
    /// # Errors
    /// [`InvalidScores`] when there is none, or one out of range.
    pub fn of(scores: BTreeMap<Criterion, f64>) -> Result<Self, InvalidScores> {
        if scores.is_empty() {
            return Err(InvalidScores::Empty);
        }
        match scores.iter().find(|(_, score)| !(0.0..=10.0).contains(*score)) {
            Some((&criterion, &found)) => Err(InvalidScores::OutOfRange { criterion, found }),
            None => Ok(Self(scores)),
        }
    }

    /// The score of a criterion, where it has one.
    pub fn get(&self, criterion: Criterion) -> Option<f64> {
        self.0.get(&criterion).copied()
    }

    /// All scores in the order of [`Criterion::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Criterion, f64)> + '_ {
        self.0.iter().map(|(criterion, score)| (*criterion, *score))
    }

    /// The same score for every criterion, brought into 0 to 10.
    pub fn same(score: f64) -> Self {
        let score = if score.is_finite() { score.clamp(0.0, 10.0) } else { 0.0 };
        Self(Criterion::ALL.into_iter().map(|criterion| (criterion, score)).collect())
    }

    /// These scores with that of `criterion` brought down to `limit` (0–10).
    #[must_use]
    pub fn with_at_most(&self, criterion: Criterion, limit: f64) -> Self {
        let limited =
            self.iter().map(|(of, score)| (of, if of == criterion { score.min(limit) } else { score }));
        Self(limited.collect())
    }

    /// The mean by the usual weights on a scale of 0 to 100: `Σ score·weight / Σ weight · 10`.
    pub fn overall(&self) -> f64 {
        self.overall_by(&Criterion::ALL.map(|criterion| (criterion, criterion.weight())).into())
    }

    /// The mean by `weights`; a criterion without one has its usual weight.
    pub fn overall_by(&self, weights: &BTreeMap<Criterion, f64>) -> f64 {
        let weight = |criterion: Criterion| weights.get(&criterion).copied().unwrap_or(criterion.weight());
        let weighted: f64 = self.iter().map(|(criterion, score)| score * weight(criterion)).sum();
        let total: f64 = self.iter().map(|(criterion, _)| weight(criterion)).sum();
        weighted / total * 10.0
    }
}

impl TryFrom<BTreeMap<Criterion, f64>> for CriteriaScores {
    type Error = InvalidScores;

    fn try_from(scores: BTreeMap<Criterion, f64>) -> Result<Self, InvalidScores> {
        Self::of(scores)
    }
}

impl From<CriteriaScores> for BTreeMap<Criterion, f64> {
    fn from(scores: CriteriaScores) -> Self {
        scores.0
    }
}
