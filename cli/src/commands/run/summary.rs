//! The closing summary of a job: the five steps people know, and where everything lies.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clara_gpu_worker::{collate::CollateReport, train::REPORT_FILE};
use clara_lifecycle::{
    artifact::ArtifactRef,
    counted::counted,
    gate::GateReport,
    job::{Job, JobState, Outcome},
    results::{DatasetResult, StageResult, TrainingResult},
    stage::Stage,
};
use clara_runtime::artifacts::ArtifactStore;
use serde::{Deserialize, Serialize};

use super::{exit_code, state_text};
use crate::{
    client::{AdapterDocument, Client},
    figures::{self, NONE},
    session::Session,
};

/// What a job came to.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) job: Job,
    pub(super) adapter: Option<AdapterDocument>,
    /// A verified copy of the adapter.
    pub(super) adapter_folder: Option<PathBuf>,
    /// A verified copy of the evaluation.
    pub(super) evaluation_file: Option<PathBuf>,
    /// What became of the training records, where the training report tells it.
    pub(super) train_records: Option<CollateReport>,
    pub(super) exit_code: u8,
}

/// What the job made, here.
#[derive(Debug, Default)]
struct Copied {
    adapter_folder: Option<PathBuf>,
    evaluation_file: Option<PathBuf>,
    train_records: Option<CollateReport>,
}

/// What is read of the training report.
#[derive(Debug, Deserialize)]
struct TrainingReport {
    #[serde(default)]
    train: Option<CollateReport>,
}

impl Summary {
    /// Gathers what the job made, and copies adapter and evaluation to where people find them.
    pub(super) async fn of(session: &Session, client: &Client, job: &Job) -> Result<Self> {
        let adapter = match &job.adapter_id {
            Some(adapter_id) => Some(client.adapter(adapter_id).await?),
            None => None,
        };
        let mut copied = Copied::default();
        if let Some(adapter_id) = &job.adapter_id {
            match copy(session, job, adapter_id).await {
                Ok(found) => copied = found,
                // Without a copy the summary is still worth showing; the store holds everything.
                Err(error) => session.output.note(format!("the adapter was not copied: {error}")),
            }
        }
        let Copied { adapter_folder, evaluation_file, train_records } = copied;
        let exit_code = exit_code(job);
        Ok(Self { job: job.clone(), adapter, adapter_folder, evaluation_file, train_records, exit_code })
    }

    /// The summary for people.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let job = &self.job;
        let mut lines = vec![("job", format!("{}  {}", job.id, state_text(job))), ("", String::new())];
        for stage in Stage::ALL {
            match job.result(stage) {
                Some(StageResult::Ingest(dataset)) => {
                    lines.push(("1/5 stream training data", ingested(dataset)));
                }
                Some(StageResult::Train(training)) => {
                    lines.push(("2/5 train", trained(training, self.train_records.as_ref())));
                    let adapter = job.adapter_id.clone().unwrap_or_else(|| NONE.to_owned());
                    lines.push(("3/5 register", adapter));
                }
                Some(StageResult::Gate(report)) => {
                    lines.push(("4/5 evaluate", self.evaluated(report)));
                    lines.push(("5/5 review and approve", decided(report)));
                }
                Some(StageResult::Generate(_) | StageResult::Judge(_) | StageResult::Rollout(_)) | None => {}
            }
        }
        if let JobState::Stuck { stage } = job.state {
            let failure = job.stages.get(stage).last_failure.as_ref();
            lines
                .push(("stuck at", format!("{stage}: {}", failure.map_or(NONE, |failure| &failure.message))));
        }
        lines.push(("", String::new()));
        self.push_places(&mut lines);
        lines.push(("next", next(job)));
        lines
    }

    fn push_places(&self, lines: &mut Vec<(&'static str, String)>) {
        if let Some(adapter) = &self.adapter {
            let champion = if adapter.champion { ", champion" } else { "" };
            lines.push(("adapter", adapter.version.adapter_id.clone()));
            lines.push(("status", format!("{}{champion}", adapter.version.status)));
            let score = adapter.version.metrics.get("llm_judge_score").copied();
            lines.push(("score", figures::number(score, 1)));
        }
        for (name, path) in [("folder", &self.adapter_folder), ("evaluation", &self.evaluation_file)] {
            if let Some(path) = path {
                lines.push((name, path.display().to_string()));
            }
        }
    }

    fn evaluated(&self, report: &GateReport) -> String {
        let bounds = match (report.lower_bound, report.upper_bound) {
            (Some(lower), Some(upper)) => format!(" (95 % bounds {lower:.1} to {upper:.1})"),
            (Some(_) | None, Some(_) | None) => String::new(),
        };
        let mut text = format!(
            "score {}{bounds}, pass rate {}, {} judged, {} unscored",
            figures::number(report.mean, 1),
            figures::percent(report.pass_rate),
            counted(report.scored, "sample"),
            report.unscored
        );
        if let Some(StageResult::Generate(answers)) = self.job.result(Stage::Generate) {
            text = format!(
                "{text}\nloss on the expected outputs {:.3}, base model {:.3}",
                answers.candidate_nll, answers.base_nll
            );
        }
        text
    }
}

/// Copies what the job made, verifies it, and reads the training report.
async fn copy(session: &Session, job: &Job, adapter_id: &str) -> Result<Copied> {
    let artifacts = session.artifacts()?;
    let mut copied = Copied::default();
    if let Some(StageResult::Train(training)) = job.result(Stage::Train) {
        let target = session.adapter_folder(adapter_id);
        artifacts.fetch(&training.adapter, &target).await?;
        copied.adapter_folder = Some(target);
        match train_records(&artifacts, &training.report).await {
            Ok(records) => copied.train_records = records,
            // One line less is no reason to withhold the copies.
            Err(error) => session.output.note(format!("the training report was not read: {error:#}")),
        }
    }
    if let Some(StageResult::Judge(judged)) = job.result(Stage::Judge) {
        let target = session.evaluation_folder(adapter_id);
        artifacts.fetch(&judged.evaluation, &target).await?;
        copied.evaluation_file = Some(target.join("evaluation.json"));
    }
    Ok(copied)
}

async fn train_records(artifacts: &ArtifactStore, report: &ArtifactRef) -> Result<Option<CollateReport>> {
    let bytes = artifacts.read(report, REPORT_FILE).await?;
    let report: TrainingReport =
        serde_json::from_slice(&bytes).with_context(|| format!("{REPORT_FILE} is not a training report"))?;
    Ok(report.train)
}

fn ingested(dataset: &DatasetResult) -> String {
    let dropped: Vec<_> = dataset
        .dropped
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    let dropped = if dropped.is_empty() { "none".to_owned() } else { dropped.join(", ") };
    format!(
        "{} read, {} kept; dropped: {dropped}\n{} to train on, {} held out",
        counted(dataset.documents_read, "document"),
        dataset.documents_kept,
        counted(dataset.train_records, "record"),
        dataset.validation_records
    )
}

fn trained(training: &TrainingResult, records: Option<&CollateReport>) -> String {
    let text = format!(
        "{}, {}, loss {:.3}, validation loss {} → {}",
        counted(training.steps, "step"),
        counted(training.tokens, "token"),
        training.training_loss,
        figures::number(training.validation_loss_before, 3),
        figures::number(training.validation_loss_after, 3)
    );
    match records {
        Some(records) if records.truncated > 0 => format!(
            "{text}\n{} of {} records lost their end; raise --sequence-length to learn all of them",
            records.truncated, records.records
        ),
        Some(_) | None => text,
    }
}

fn decided(report: &GateReport) -> String {
    let reasons: Vec<_> =
        report.reasons.iter().map(|reason| format!("\n{}: {}", reason.code, reason.text)).collect();
    format!("{}{}", report.decision, reasons.concat())
}

/// What to do next.
fn next(job: &Job) -> String {
    let (id, adapter) = (&job.id, job.adapter_id.as_deref().unwrap_or_default());
    match &job.state {
        JobState::Waiting { .. } | JobState::Active { .. } => format!("clara job watch {id}"),
        JobState::Stuck { stage } => {
            format!(
                "mend what is wrong, then give the same command again, or: clara job retry {id} --from {stage}"
            )
        }
        JobState::InReview => format!(
            "clara review show {adapter}\nclara review approve {adapter} --reason \"…\"\nclara review reject {adapter} --reason \"…\""
        ),
        JobState::Finished { outcome: Outcome::Approved } => {
            format!("clara chat --base-model {} --adapter {adapter}", job.spec.base_model)
        }
        JobState::Finished { outcome: Outcome::Rejected | Outcome::Inconclusive } => {
            format!("clara eval show {adapter} --failed")
        }
        JobState::Finished { outcome: Outcome::Error } => {
            format!("check the judge, then: clara job retry {id} --from judge")
        }
        JobState::Cancelled => format!("clara job retry {id}"),
    }
}
