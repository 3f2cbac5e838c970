//! What others read from an evaluation: its judges and what they said, and what the gate decides on.

use std::collections::BTreeMap;

use super::{CriteriaScores, Criterion, Evaluation, Flag, JudgeIdentity, JudgeVote, SampleScore};
use crate::{
    calibration::standing_of,
    gate::{GateInput, GateSample},
};

impl Evaluation {
    /// The overall score (0–100) of `scores` by the weights of this evaluation.
    pub fn overall_of(&self, scores: &CriteriaScores) -> f64 {
        self.rubric.as_ref().map_or_else(|| scores.overall(), |rubric| rubric.overall(scores))
    }

    /// All judges of the panel.
    pub fn judges(&self) -> &[JudgeIdentity] {
        if self.panel.is_empty() { std::slice::from_ref(&self.judge) } else { &self.panel }
    }

    /// What each judge said about the answer to a sample, by judge id and criterion, 0–10; empty without a score.
    pub fn judged(&self, sample_id: &str) -> BTreeMap<String, BTreeMap<Criterion, f64>> {
        let Some(score) = self.results.iter().find(|score| score.sample_id == sample_id) else {
            return BTreeMap::new();
        };
        if score.details.votes.is_empty() {
            return BTreeMap::from([(self.judge.judge_id.clone(), score.criteria_scores.iter().collect())]);
        }
        let means = |vote: &JudgeVote| vote.criteria.iter().map(|(of, vote)| (*of, vote.mean)).collect();
        score.details.votes.iter().map(|vote| (vote.judge_id.clone(), means(vote))).collect()
    }

    /// What the gate decides on, for judges of whom no calibration is known and a first evaluation.
    pub fn gate_input(&self) -> GateInput {
        let of_champion: BTreeMap<_, _> = self
            .champion
            .iter()
            .flat_map(|champion| &champion.results)
            .map(|score| (score.sample_id.as_str(), score.overall_score))
            .collect();
        let sample = |score: &SampleScore| GateSample {
            sample_id: score.sample_id.clone(),
            score: score.overall_score,
            champion: of_champion.get(score.sample_id.as_str()).copied(),
            cluster: score.cluster.clone(),
            difficulty: score.difficulty,
            hard_failures: score
                .details
                .checks
                .iter()
                .filter(|check| check.is_hard)
                .map(|check| check.code.clone())
                .collect(),
            is_injection: score.details.flags.contains(&Flag::Injection),
        };
        GateInput {
            samples: self.results.iter().map(sample).collect(),
            unscored: u32::try_from(self.unscored.len()).unwrap_or(u32::MAX),
            has_champion: self.champion.is_some(),
            standing: standing_of(self.judges(), &[]),
            canaries: self.health.canaries,
            canaries_failed: self.health.canaries_failed,
            flip_rate: self.health.flip_rate,
            evaluations: 0,
        }
    }
}
