//! Human labels: what people say about answers that a judge scored, so that the judge can be calibrated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, score::Criterion};

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

impl HumanLabel {
    /// Names the label: one person has one label for one answer.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.adapter_id, self.sample_id, self.actor)
    }
}
