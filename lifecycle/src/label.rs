//! Human labels: what people say about answers that a judge scored, so that the judge can be calibrated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    score::{Criterion, Evaluation},
};

/// What one person says about one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HumanLabel {
    /// The version that answered.
    pub adapter_id: String,
    /// The golden dataset as `id@version`.
    pub golden_dataset: String,
    /// The golden sample.
    pub sample_id: String,
    /// Digest of prompt and answer.
    pub answer_digest: Digest,
    /// Scores, 0–10; criteria that the person left out are absent.
    pub scores: BTreeMap<Criterion, f64>,
    /// What the judges said, by judge id and criterion, 0–10.
    pub judged: BTreeMap<String, BTreeMap<Criterion, f64>>,
    /// Who.
    pub actor: String,
    /// Why; may be empty where the person labels, not where it overrides.
    pub reason: String,
    /// When, RFC 3339.
    pub at: String,
    /// How it came about.
    pub source: LabelSource,
}

/// How a label came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// By `clara eval label`.
    Label,
    /// By changing a score in a review.
    Override,
}

/// What a person says about an answer, before it is put beside what the judges said.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLabel {
    /// The golden sample.
    pub sample_id: String,
    /// Scores, 0–10; at least one.
    pub scores: BTreeMap<Criterion, f64>,
    /// Who.
    pub actor: String,
    /// Why; may be empty.
    pub reason: String,
    /// When, RFC 3339.
    pub at: String,
    /// How it came about.
    pub source: LabelSource,
}

/// A label that cannot be kept.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidLabel {
    /// No such answer.
    #[error(
        "the evaluation of {adapter_id} has no scored answer to sample {sample_id}; `clara eval show` lists them"
    )]
    UnknownSample {
        /// The version.
        adapter_id: String,
        /// The sample as given.
        sample_id: String,
    },
    /// Nothing said.
    #[error("the label of sample {0} holds no score; expected at least one criterion with 0 to 10")]
    Empty(String),
    /// Out of range.
    #[error("the label says {found} for {criterion}; expected 0 to 10")]
    OutOfRange {
        /// The criterion.
        criterion: Criterion,
        /// The score as given.
        found: f64,
    },
    /// Nobody says it.
    #[error("a label needs who says it (--actor)")]
    NoActor,
}

impl HumanLabel {
    /// Puts what a person says about an answer of `evaluation` beside what its judges said.
    ///
    /// # Errors
    /// [`InvalidLabel`] when the answer has no score, or the label none that is 0 to 10.
    pub fn of(evaluation: &Evaluation, new: NewLabel) -> Result<Self, InvalidLabel> {
        let adapter_id = evaluation.summary.adapter_id.clone();
        let Some(score) = evaluation.results.iter().find(|score| score.sample_id == new.sample_id) else {
            return Err(InvalidLabel::UnknownSample { adapter_id, sample_id: new.sample_id });
        };
        if new.actor.trim().is_empty() {
            return Err(InvalidLabel::NoActor);
        }
        if new.scores.is_empty() {
            return Err(InvalidLabel::Empty(new.sample_id));
        }
        let wrong = new.scores.iter().find(|(_, score)| !(0.0..=10.0).contains(*score));
        if let Some((criterion, found)) = wrong {
            return Err(InvalidLabel::OutOfRange { criterion: *criterion, found: *found });
        }
        let answer = [("prompt", score.prompt.as_bytes()), ("answer", score.adapter_output.as_bytes())];
        Ok(Self {
            golden_dataset: evaluation.summary.golden_dataset_id.clone(),
            answer_digest: Digest::of_parts(answer),
            judged: evaluation.judged(&new.sample_id),
            adapter_id,
            sample_id: new.sample_id,
            scores: new.scores,
            actor: new.actor,
            reason: new.reason,
            at: new.at,
            source: new.source,
        })
    }

    /// Names the label: one person has one label for one answer.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.adapter_id, self.sample_id, self.actor)
    }
}
