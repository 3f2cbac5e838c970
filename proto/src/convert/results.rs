//! Stage results, artifacts and progress.

use clara_lifecycle::{
    artifact::{ArtifactFile, ArtifactRef},
    attempt::Progress,
    gate::{Decision, GateMode, GateReport, PairedDelta, Reason},
    results::{
        AnswersResult, DatasetResult, EvaluationResult, RolloutResult, StageResult, TargetRollout,
        TrainingResult,
    },
};

use super::{ConvertError, names::known, parsed, required};
use crate::v1::{self, stage_result::Result as Wire};

impl From<ArtifactRef> for v1::Artifact {
    fn from(artifact: ArtifactRef) -> Self {
        let file = |file: ArtifactFile| v1::ArtifactFile {
            path: file.path,
            size_bytes: file.size_bytes,
            digest: file.digest.into(),
        };
        Self { prefix: artifact.prefix, files: artifact.files.into_iter().map(file).collect() }
    }
}

impl TryFrom<v1::Artifact> for ArtifactRef {
    type Error = ConvertError;

    fn try_from(artifact: v1::Artifact) -> Result<Self, ConvertError> {
        let file = |file: v1::ArtifactFile| {
            let digest = parsed("artifact.files.digest", &file.digest)?;
            Ok(ArtifactFile { path: file.path, size_bytes: file.size_bytes, digest })
        };
        let files = artifact.files.into_iter().map(file).collect::<Result<_, ConvertError>>()?;
        Ok(Self { prefix: artifact.prefix, files })
    }
}

impl From<StageResult> for v1::StageResult {
    fn from(result: StageResult) -> Self {
        let result = match result {
            StageResult::Ingest(result) => Wire::Ingest(result.into()),
            StageResult::Train(result) => Wire::Train(result.into()),
            StageResult::Generate(result) => Wire::Generate(result.into()),
            StageResult::Judge(result) => Wire::Judge(result.into()),
            StageResult::Gate(report) => Wire::Gate(report.into()),
            StageResult::Rollout(result) => Wire::Rollout(v1::RolloutResult {
                adapter_id: result.adapter_id,
                previous_champion: result.previous_champion,
                targets: result.targets.into_iter().map(Into::into).collect(),
            }),
        };
        Self { result: Some(result) }
    }
}

impl TryFrom<v1::StageResult> for StageResult {
    type Error = ConvertError;

    fn try_from(result: v1::StageResult) -> Result<Self, ConvertError> {
        Ok(match required("result", result.result)? {
            Wire::Ingest(result) => Self::Ingest(result.try_into()?),
            Wire::Train(result) => Self::Train(result.try_into()?),
            Wire::Generate(result) => Self::Generate(AnswersResult {
                answers: required("generate.answers", result.answers)?.try_into()?,
                candidate_nll: result.candidate_nll,
                champion_nll: result.champion_nll,
                base_nll: result.base_nll,
            }),
            Wire::Judge(result) => Self::Judge(EvaluationResult {
                evaluation: required("judge.evaluation", result.evaluation)?.try_into()?,
                samples: result.samples,
                unscored: result.unscored,
                average_score: result.average_score,
                pass_rate: result.pass_rate,
            }),
            Wire::Gate(report) => Self::Gate(report.try_into()?),
            Wire::Rollout(result) => Self::Rollout(RolloutResult {
                adapter_id: result.adapter_id,
                previous_champion: result.previous_champion,
                targets: result.targets.into_iter().map(Into::into).collect(),
            }),
        })
    }
}

impl From<TargetRollout> for v1::TargetRollout {
    fn from(TargetRollout { target, name, replicas, proof }: TargetRollout) -> Self {
        Self { target, name, replicas, proof }
    }
}

impl From<v1::TargetRollout> for TargetRollout {
    fn from(v1::TargetRollout { target, name, replicas, proof }: v1::TargetRollout) -> Self {
        Self { target, name, replicas, proof }
    }
}

impl From<DatasetResult> for v1::DatasetResult {
    fn from(result: DatasetResult) -> Self {
        let dropped = result.dropped.into_iter().map(|(reason, count)| (reason.as_str().to_owned(), count));
        Self {
            dataset: Some(result.dataset.into()),
            documents_read: result.documents_read,
            documents_kept: result.documents_kept,
            dropped: dropped.collect(),
            train_records: result.train_records,
            validation_records: result.validation_records,
            source_digest: result.source_digest.into(),
            key: result.key.map(Into::into),
            reused_from: result.reused_from.map(Into::into),
        }
    }
}

impl TryFrom<v1::DatasetResult> for DatasetResult {
    type Error = ConvertError;

    fn try_from(result: v1::DatasetResult) -> Result<Self, ConvertError> {
        let dropped = result
            .dropped
            .into_iter()
            .map(|(reason, count)| Ok((parsed("ingest.dropped", &reason)?, count)))
            .collect::<Result<_, ConvertError>>()?;
        Ok(Self {
            dataset: required("ingest.dataset", result.dataset)?.try_into()?,
            documents_read: result.documents_read,
            documents_kept: result.documents_kept,
            dropped,
            train_records: result.train_records,
            validation_records: result.validation_records,
            source_digest: parsed("ingest.source_digest", &result.source_digest)?,
            key: result.key.map(|key| parsed("ingest.key", &key)).transpose()?,
            reused_from: result.reused_from.map(|job| parsed("ingest.reused_from", &job)).transpose()?,
        })
    }
}

impl From<TrainingResult> for v1::TrainingResult {
    fn from(result: TrainingResult) -> Self {
        Self {
            adapter: Some(result.adapter.into()),
            report: Some(result.report.into()),
            base_model: result.base_model,
            base_model_digest: result.base_model_digest.into(),
            validation_loss_before: result.validation_loss_before,
            validation_loss_after: result.validation_loss_after,
            training_loss: result.training_loss,
            steps: result.steps,
            tokens: result.tokens,
        }
    }
}

impl TryFrom<v1::TrainingResult> for TrainingResult {
    type Error = ConvertError;

    fn try_from(result: v1::TrainingResult) -> Result<Self, ConvertError> {
        Ok(Self {
            adapter: required("train.adapter", result.adapter)?.try_into()?,
            report: required("train.report", result.report)?.try_into()?,
            base_model: result.base_model,
            base_model_digest: parsed("train.base_model_digest", &result.base_model_digest)?,
            validation_loss_before: result.validation_loss_before,
            validation_loss_after: result.validation_loss_after,
            training_loss: result.training_loss,
            steps: result.steps,
            tokens: result.tokens,
        })
    }
}

impl From<AnswersResult> for v1::AnswersResult {
    fn from(result: AnswersResult) -> Self {
        Self {
            answers: Some(result.answers.into()),
            candidate_nll: result.candidate_nll,
            champion_nll: result.champion_nll,
            base_nll: result.base_nll,
        }
    }
}

impl From<EvaluationResult> for v1::EvaluationResult {
    fn from(result: EvaluationResult) -> Self {
        Self {
            evaluation: Some(result.evaluation.into()),
            samples: result.samples,
            unscored: result.unscored,
            average_score: result.average_score,
            pass_rate: result.pass_rate,
        }
    }
}

impl From<GateReport> for v1::GateReport {
    fn from(report: GateReport) -> Self {
        let reason = |reason: Reason| v1::GateReason { code: reason.code, text: reason.text };
        let delta = |delta: PairedDelta| v1::PairedDelta {
            mean: delta.mean,
            lower_bound: delta.lower_bound,
            upper_bound: delta.upper_bound,
        };
        Self {
            decision: v1::Decision::from(report.decision).into(),
            reasons: report.reasons.into_iter().map(reason).collect(),
            mode: v1::GateMode::from(report.mode).into(),
            mean: report.mean,
            lower_bound: report.lower_bound,
            upper_bound: report.upper_bound,
            scored: report.scored,
            unscored: report.unscored,
            pass_rate: report.pass_rate,
            champion_delta: report.champion_delta.map(delta),
            evidence: Some(report.evidence.into()),
        }
    }
}

impl TryFrom<v1::GateReport> for GateReport {
    type Error = ConvertError;

    fn try_from(report: v1::GateReport) -> Result<Self, ConvertError> {
        let reason = |reason: v1::GateReason| Reason { code: reason.code, text: reason.text };
        let delta = |delta: v1::PairedDelta| PairedDelta {
            mean: delta.mean,
            lower_bound: delta.lower_bound,
            upper_bound: delta.upper_bound,
        };
        Ok(Self {
            decision: known::<v1::Decision, Decision>("gate.decision", report.decision)?,
            reasons: report.reasons.into_iter().map(reason).collect(),
            mode: known::<v1::GateMode, GateMode>("gate.mode", report.mode)?,
            mean: report.mean,
            lower_bound: report.lower_bound,
            upper_bound: report.upper_bound,
            scored: report.scored,
            unscored: report.unscored,
            pass_rate: report.pass_rate,
            champion_delta: report.champion_delta.map(delta),
            evidence: report.evidence.map(TryInto::try_into).transpose()?.unwrap_or_default(),
        })
    }
}

impl From<Progress> for v1::Progress {
    fn from(progress: Progress) -> Self {
        Self {
            counter: progress.counter,
            done: progress.done,
            total: progress.total,
            unit: progress.unit,
            figures: progress.figures.into_iter().collect(),
            checkpoint: progress.checkpoint.map(Into::into),
            points: progress.points.into_iter().map(Into::into).collect(),
            note: progress.note,
        }
    }
}

impl TryFrom<v1::Progress> for Progress {
    type Error = ConvertError;

    fn try_from(progress: v1::Progress) -> Result<Self, ConvertError> {
        Ok(Self {
            counter: progress.counter,
            done: progress.done,
            total: progress.total,
            unit: progress.unit,
            figures: progress.figures.into_iter().collect(),
            checkpoint: progress.checkpoint.map(TryInto::try_into).transpose()?,
            points: progress
                .points
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, ConvertError>>()?,
            note: progress.note,
        })
    }
}
