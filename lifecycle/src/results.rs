//! What each stage commits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    artifact::ArtifactRef, dataset::DropReason, digest::Digest, gate::GateReport, id::JobId, stage::Stage,
};

/// The result of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum StageResult {
    /// A dataset.
    Ingest(DatasetResult),
    /// An adapter.
    Train(TrainingResult),
    /// Answers to the golden dataset.
    Generate(AnswersResult),
    /// Scores of the answers.
    Judge(EvaluationResult),
    /// The decision.
    Gate(GateReport),
    /// The approved version in its place.
    Rollout(RolloutResult),
}

impl StageResult {
    /// The stage that commits this kind of result.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Ingest(_) => Stage::Ingest,
            Self::Train(_) => Stage::Train,
            Self::Generate(_) => Stage::Generate,
            Self::Judge(_) => Stage::Judge,
            Self::Gate(_) => Stage::Gate,
            Self::Rollout(_) => Stage::Rollout,
        }
    }
}

/// A dataset: `train.jsonl`, `validation.jsonl`, `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetResult {
    /// The files.
    pub dataset: ArtifactRef,
    /// Documents read.
    pub documents_read: u64,
    /// Documents kept.
    pub documents_kept: u64,
    /// Documents left out, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Records to train on.
    pub train_records: u64,
    /// Records held out.
    pub validation_records: u64,
    /// SHA-256 over the source files; a change of source is a minor version.
    pub source_digest: Digest,
    /// Digest of everything that the dataset follows from: sources, options, domain, golden dataset, program. A job with the same key may take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// The job that made the dataset, where this one took it as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_from: Option<JobId>,
}

/// A dataset that an earlier job made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredDataset {
    /// The job.
    pub job: JobId,
    /// What it committed.
    pub result: DatasetResult,
}

/// Datasets that were made before, for an ingest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EarlierDatasets {
    /// Made with the same options, newest first: one with the same key is taken as it is.
    pub same_options: Vec<StoredDataset>,
    /// Those that versions of the job's family were trained on, newest first; only where the job asks for what is new to them.
    pub family: Vec<ArtifactRef>,
}

/// A trained adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingResult {
    /// `adapter_config.json` and `adapter_model.safetensors`, as PEFT writes them.
    pub adapter: ArtifactRef,
    /// `training.json` and `metrics.jsonl`.
    pub report: ArtifactRef,
    /// Name of the base model.
    pub base_model: String,
    /// SHA-256 of the base model's files.
    pub base_model_digest: Digest,
    /// Mean loss on the validation records before training, in nats per token.
    pub validation_loss_before: Option<f64>,
    /// Mean loss on the validation records after training.
    pub validation_loss_after: Option<f64>,
    /// Loss of the last optimiser step.
    pub training_loss: f64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Tokens passed through the model in training.
    pub tokens: u64,
}

/// Answers of candidate, champion and base model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswersResult {
    /// `answers.json`.
    pub answers: ArtifactRef,
    /// Mean negative log-likelihood of the expected outputs under the candidate, in nats per token.
    pub candidate_nll: f64,
    /// The same under the champion, if there is one.
    pub champion_nll: Option<f64>,
    /// The same under the base model.
    pub base_nll: f64,
}

/// Scores of the answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationResult {
    /// `evaluation.json`, and `replies.jsonl` with the raw replies of the judge.
    pub evaluation: ArtifactRef,
    /// Samples of the golden dataset.
    pub samples: u64,
    /// Samples that the judge could not score.
    pub unscored: u64,
    /// Mean overall score (0–100) of the scored samples; absent when none was scored.
    pub average_score: Option<f64>,
    /// Share (0–1) of the scored samples that pass.
    pub pass_rate: Option<f64>,
}

/// The approved version in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutResult {
    /// The version that is now champion.
    pub adapter_id: String,
    /// The version that was champion before.
    pub previous_champion: Option<String>,
    /// The servers that serve it now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetRollout>,
}

/// A version on one rollout target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRollout {
    /// The target.
    pub target: String,
    /// The name under which the version is served there.
    pub name: String,
    /// The URLs of its replicas.
    pub replicas: Vec<String>,
    /// What was found out about the bytes that are served.
    pub proof: String,
}
