//! Scores: what a judge says about one answer, and the evaluation of a whole golden dataset.

mod details;
mod evaluation;
mod gap;
mod health;
#[cfg(test)]
mod tests;
mod unscored;

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use details::{AnswerDetails, CheckFinding, CriterionVote, Flag, JudgeVote, Scoring, TextMetrics};
pub use evaluation::{
    ChampionEvaluation, ChampionScore, Evaluation, EvaluationContext, JudgeIdentity, Judgement, SampleScore,
    Scored, Summary,
};
pub use gap::{GapSeverity, GapStatus, KnowledgeGap, UnknownGapWord};
pub use health::{JudgeHealth, PairwiseReport, PairwiseResult, Preference};
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

    /// How much it counts in the overall score.
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

/// One score from 0 to 10 for every criterion: never fewer, never out of range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<Criterion, f64>", into = "BTreeMap<Criterion, f64>")]
pub struct CriteriaScores(BTreeMap<Criterion, f64>);

/// Scores that do not cover every criterion, or lie out of range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidScores {
    /// A criterion has no score.
    #[error("there is no score for {0}; expected one for each of the five criteria")]
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
        for criterion in Criterion::ALL {
            let found = *scores.get(&criterion).ok_or(InvalidScores::Missing(criterion))?;
            if !(0.0..=10.0).contains(&found) {
                return Err(InvalidScores::OutOfRange { criterion, found });
            }
        }
        Ok(Self(scores))
    }

    /// All scores in the order of [`Criterion::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Criterion, f64)> + '_ {
        self.0.iter().map(|(criterion, score)| (*criterion, *score))
    }

    /// The weighted mean on a scale of 0 to 100: `Σ score·weight / Σ weight · 10`.
    pub fn overall(&self) -> f64 {
        let weighted: f64 = self.iter().map(|(criterion, score)| score * criterion.weight()).sum();
        let weights: f64 = Criterion::ALL.into_iter().map(Criterion::weight).sum();
        weighted / weights * 10.0
    }
}

impl TryFrom<BTreeMap<Criterion, f64>> for CriteriaScores {
    type Error = InvalidScores;

    fn try_from(scores: BTreeMap<Criterion, f64>) -> Result<Self, InvalidScores> {
        Self::new(scores)
    }
}

impl From<CriteriaScores> for BTreeMap<Criterion, f64> {
    fn from(scores: CriteriaScores) -> Self {
        scores.0
    }
}
