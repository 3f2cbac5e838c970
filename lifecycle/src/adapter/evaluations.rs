//! How often a family was evaluated with one golden dataset: trying until it passes shows here.

use super::Family;
use crate::digest::Digest;

impl Family {
    /// The metric that holds the mean score (0–100) of an evaluated version.
    pub const SCORE: &str = "llm_judge_score";
    /// The metric that counts the evaluations of the family with the same golden dataset, up to and with this one.
    pub const EVALUATIONS: &str = "golden_evaluations";

    /// How many versions other than `adapter_id` were evaluated with the golden dataset of this digest.
    pub fn evaluations_with(&self, golden: &Digest, adapter_id: Option<&str>) -> u32 {
        let evaluated = self.versions.iter().filter(|version| {
            Some(version.adapter_id.as_str()) != adapter_id
                && version.metrics.contains_key(Self::SCORE)
                && version.lineage.as_ref().is_some_and(|lineage| lineage.golden_digest == *golden)
        });
        u32::try_from(evaluated.count()).unwrap_or(u32::MAX)
    }
}
