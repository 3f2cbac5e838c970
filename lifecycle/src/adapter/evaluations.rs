//! How often a family was evaluated with one golden dataset: trying until it passes shows here.

#[cfg(test)]
mod tests;

use super::Family;
use crate::{artifact::ArtifactRef, digest::Digest};

/// An evaluation that is being decided.
#[derive(Debug, Clone, Copy)]
pub struct Deciding<'a> {
    /// The version.
    pub adapter_id: &'a str,
    /// Its evaluation.
    pub evaluation: Option<&'a ArtifactRef>,
}

impl Family {
    /// The metric that holds the mean score (0–100) of an evaluated version.
    pub const SCORE: &str = "llm_judge_score";
    /// The metric that counts the evaluations of the family with the same golden dataset, up to and with this one.
    pub const EVALUATIONS: &str = "golden_evaluations";

    /// How many evaluations with the golden dataset of this digest gave a mean before the one that is being decided, repeats of one
    /// version included; all of them when none is.
    pub fn evaluations_with(&self, golden: &Digest, deciding: Option<Deciding<'_>>) -> u32 {
        let with_it = self.versions.iter().filter(|version| {
            version.metrics.contains_key(Self::SCORE)
                && version.lineage.as_ref().is_some_and(|lineage| lineage.golden_digest == *golden)
        });
        let counted = with_it.map(|version| match (&version.evaluation, deciding) {
            (Some(record), Some(deciding)) if deciding.adapter_id == version.adapter_id => {
                record.number_before(deciding.evaluation)
            }
            (None, Some(deciding)) if deciding.adapter_id == version.adapter_id => 0,
            (Some(record), _) => record.number,
            (None, _) => 1,
        });
        counted.sum()
    }
}
