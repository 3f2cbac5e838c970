//! What happened to a version after its training: evaluation, decision, reviews, rollouts, deprecation.

use serde::{Deserialize, Serialize};

use super::{AdapterVersion, Family, StatusError};
use crate::{
    artifact::ArtifactRef,
    gate::GateReport,
    job::Verdict,
    results::{AnswersResult, EvaluationResult},
};

/// How a version was evaluated, and what the gate said to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// RFC 3339; when the gate decided.
    pub at: String,
    /// `answers.json`.
    #[serde(default)]
    pub answers: Option<ArtifactRef>,
    /// `evaluation.json` and the judge's raw replies.
    #[serde(default)]
    pub evaluation: Option<ArtifactRef>,
    /// Mean negative log-likelihood of the expected outputs under the version, in nats per token.
    #[serde(default)]
    pub candidate_nll: Option<f64>,
    /// Evaluations of this version that gave a mean, up to and with this one: trying until it passes shows here.
    #[serde(default = "one")]
    pub number: u32,
    /// What the gate said, and why.
    pub report: GateReport,
}

fn one() -> u32 {
    1
}

/// What one person said about a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewRecord {
    /// RFC 3339.
    pub at: String,
    /// Who.
    pub actor: String,
    /// What.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
}

/// One time that a version went into production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutRecord {
    /// RFC 3339.
    pub at: String,
    /// Who moved it.
    pub actor: String,
    /// The version that was champion before.
    #[serde(default)]
    pub replaced: Option<String>,
    /// The targets that took it.
    #[serde(default)]
    pub targets: Vec<String>,
}

/// Why a version should not be used any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deprecation {
    /// RFC 3339.
    pub at: String,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The version to use instead.
    #[serde(default)]
    pub successor: Option<String>,
}

impl EvaluationRecord {
    /// What the results of a job tell about its version, which has the record `earlier` already where it was evaluated before.
    pub fn new(
        at: String,
        report: &GateReport,
        answers: Option<&AnswersResult>,
        evaluation: Option<&EvaluationResult>,
        earlier: Option<&Self>,
    ) -> Self {
        let evaluation = evaluation.map(|evaluation| &evaluation.evaluation);
        let before = earlier.map_or(0, |earlier| earlier.number_before(evaluation));
        Self {
            at,
            answers: answers.map(|answers| answers.answers.clone()),
            evaluation: evaluation.cloned(),
            candidate_nll: answers.map(|answers| answers.candidate_nll),
            number: before + u32::from(report.mean.is_some()),
            report: report.clone(),
        }
    }

    /// Evaluations of the version that gave a mean before `evaluation`, which may be this one that is decided again.
    pub fn number_before(&self, evaluation: Option<&ArtifactRef>) -> u32 {
        let is_this = evaluation.is_some() && self.evaluation.as_ref() == evaluation;
        self.number - u32::from(is_this && self.report.mean.is_some() && self.number > 0)
    }
}

impl AdapterVersion {
    /// People whose last word is an approval, in the order in which they gave it.
    pub fn approvers(&self) -> Vec<&str> {
        let last_word = |actor: &str| self.reviews.iter().rev().find(|review| review.actor == actor);
        let mut approvers: Vec<&str> = Vec::new();
        for review in &self.reviews {
            let agrees = last_word(&review.actor).is_some_and(|last| last.verdict == Verdict::Approve);
            if agrees && !approvers.contains(&review.actor.as_str()) {
                approvers.push(&review.actor);
            }
        }
        approvers
    }

    /// Everything stored that the version's record refers to, with the names of the parts.
    pub fn artifacts(&self) -> Vec<(&'static str, &ArtifactRef)> {
        let lineage = self.lineage.iter().flat_map(|lineage| {
            let report = lineage.report.as_ref().map(|report| ("training", report));
            [("adapter", &lineage.adapter), ("dataset", &lineage.dataset)].into_iter().chain(report)
        });
        let evaluation = self.evaluation.iter().flat_map(|record| {
            let parts = [("answers", &record.answers), ("evaluation", &record.evaluation)];
            parts.into_iter().filter_map(|(name, part)| Some((name, part.as_ref()?)))
        });
        lineage.chain(evaluation).collect()
    }
}

impl Family {
    /// Makes an approved version the champion, notes it, and answers the one before.
    ///
    /// # Errors
    /// [`StatusError`] when there is no such version or it is not approved.
    pub fn put_into_production(
        &mut self,
        adapter_id: &str,
        rollout: RolloutRecord,
    ) -> Result<Option<String>, StatusError> {
        let replaced = self.promote(adapter_id)?;
        let rollout = RolloutRecord { replaced: replaced.clone(), ..rollout };
        self.note(adapter_id, |version| version.rollouts.push(rollout))?;
        Ok(replaced)
    }

    /// Changes what is recorded about a version; what it is stays as it was.
    ///
    /// # Errors
    /// [`StatusError::Unknown`] when there is no such version.
    pub fn note(
        &mut self,
        adapter_id: &str,
        note: impl FnOnce(&mut AdapterVersion),
    ) -> Result<(), StatusError> {
        note(self.version_mut(adapter_id)?);
        Ok(())
    }
}
