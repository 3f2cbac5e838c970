//! The documents that a reviewer works with: the queue, a version with its answers in order, one answer whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Concern, Priority, SampleNotes};
use crate::{
    adapter::AdapterStatus,
    gate::{Decision, Reason},
    golden::Difficulty,
    score::{AnswerDetails, CriteriaScores, Criterion, PairwiseResult, Unscored},
};

/// A version in the queue of reviews.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedReview {
    /// The version.
    pub adapter_id: String,
    /// Where it stands.
    pub status: AdapterStatus,
    /// When it was registered, RFC 3339.
    pub created_at: String,
    /// What the gate said.
    pub decision: Option<Decision>,
    /// Mean overall score; absent when nothing was scored or there is no evaluation here.
    pub mean: Option<f64>,
    /// Its answers, with and without a score.
    pub samples: usize,
    /// How many of them the reviewer has seen.
    pub seen: usize,
    /// How many failed a hard check or have no score.
    pub hard: usize,
    /// How many scores reviewers changed.
    pub overridden: usize,
    /// How much it deserves a look.
    pub priority: f64,
}

/// A version under review: figures, and its answers in the order in which they deserve a look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReviewSheet {
    /// The version.
    pub adapter_id: String,
    /// Where it stands.
    pub status: AdapterStatus,
    /// The golden dataset as `id@version`.
    pub golden_dataset: String,
    /// The record's revision; a verdict names it.
    pub revision: u64,
    /// What the gate said.
    pub decision: Option<Decision>,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Mean overall score (0–100) as judged.
    pub mean: Option<f64>,
    /// One-sided lower 95 % bound of it, as the gate computed it.
    pub lower_bound: Option<f64>,
    /// One-sided upper 95 % bound of it.
    pub upper_bound: Option<f64>,
    /// The mean with the reviewers' scores in their places.
    pub corrected_mean: Option<f64>,
    /// Mean from which on the gate approves.
    pub approve_at: f64,
    /// Mean below which it rejects.
    pub review_at: f64,
    /// Score from which on an answer passes.
    pub pass_at: f64,
    /// The version in production that answered beside it.
    pub champion_id: Option<String>,
    /// Its mean.
    pub champion_mean: Option<f64>,
    /// Figures by criterion.
    pub criteria: Vec<CriterionFigures>,
    /// Who judged.
    pub judges: Vec<String>,
    /// What a person should know about the judging.
    pub warnings: Vec<String>,
    /// The answers, what deserves a look first.
    pub lines: Vec<ReviewLine>,
    /// The first answer that the reviewer has not seen; the first of all once every one was.
    pub next: Option<String>,
    /// The reason that the reviewer began.
    pub draft: Option<String>,
}

/// A criterion over all scored answers; 0–10.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CriterionFigures {
    /// The criterion.
    pub criterion: Criterion,
    /// Its weight.
    pub weight: f64,
    /// The mean.
    pub mean: f64,
    /// One-sided lower 95 % bound.
    pub lower: f64,
    /// One-sided upper 95 % bound.
    pub upper: f64,
    /// The champion's mean.
    pub champion: Option<f64>,
}

/// An answer in the list of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReviewLine {
    /// The golden sample.
    pub sample_id: String,
    /// Overall score (0–100) as judged.
    pub overall: Option<f64>,
    /// With the reviewers' scores in their places; absent where they changed none.
    pub corrected: Option<f64>,
    /// Whether it passes, reviewers' scores included.
    pub passed: bool,
    /// How much it deserves a look.
    #[serde(flatten)]
    pub priority: Priority,
    /// Whether the reviewer has seen it.
    pub seen: bool,
    /// Remarks of all reviewers.
    pub comments: usize,
}

/// One answer whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReviewItem {
    /// The version.
    pub adapter_id: String,
    /// The golden sample.
    pub sample_id: String,
    /// Its place in the order, from 1.
    pub place: usize,
    /// How many answers there are.
    pub of: usize,
    /// The one before.
    pub previous: Option<String>,
    /// The one after.
    pub next: Option<String>,
    /// What was asked.
    pub prompt: String,
    /// Text that was given along.
    pub context: Option<String>,
    /// What was expected.
    pub expected_output: String,
    /// How hard it is.
    pub difficulty: Difficulty,
    /// Notes for the judge, by criterion.
    pub notes_for_judge: BTreeMap<String, String>,
    /// The new version's answer.
    pub candidate: AnswerView,
    /// The answer of the version in production.
    pub champion: Option<AnswerView>,
    /// Why there is no score.
    pub unscored: Option<Unscored>,
    /// Both beside each other.
    pub pairwise: Option<PairwiseResult>,
    /// Score from which on an answer passes.
    pub pass_at: f64,
    /// Why it deserves a look.
    pub concerns: Vec<Concern>,
    /// What reviewers noted.
    pub notes: SampleNotes,
    /// Overall score with the reviewers' scores in their places; absent where they changed none.
    pub corrected: Option<f64>,
}

/// One answer to a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerView {
    /// The version that answered.
    pub adapter_id: String,
    /// The text.
    pub text: String,
    /// Overall score (0–100).
    pub overall: Option<f64>,
    /// Scores by criterion.
    pub scores: Option<CriteriaScores>,
    /// The judge's reply, as it came.
    pub judge_reasoning: String,
    /// Checks, text metrics, votes and flags.
    #[serde(flatten)]
    pub details: AnswerDetails,
    /// Its length in characters, by that of the expected output.
    pub length_ratio: Option<f64>,
}

/// What a saved change leads to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedReview {
    /// The record's revision.
    pub revision: u64,
    /// The answer that was changed, as it is now.
    pub item: Option<ReviewItem>,
}
