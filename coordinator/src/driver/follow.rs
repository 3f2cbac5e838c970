//! What follows from an event beside the job itself: tasks, deadlines, and what the registry and its audit log learn.

use std::collections::VecDeque;

use clara_lifecycle::{
    adapter::{
        AdapterStatus, Deciding, EvaluationRecord, Family, Lineage, NewVersion, ReviewRecord, RolloutRecord,
        StatusChange,
    },
    gate::GateReport,
    job::{Command, Event, Job, Rejected, Verdict},
    results::{StageResult, TrainingResult},
    stage::Stage,
};

use super::{DriverError, SUBMITTED_BY, action_of, audit};
use crate::{
    change::{Change, task_of},
    registry::sign_in,
};

/// Puts everything that follows from an event into the change.
pub(crate) async fn follow(
    change: &mut Change<'_>,
    mut job: Job,
    commands: Vec<Command>,
) -> Result<Job, DriverError> {
    let mut commands = VecDeque::from(commands);
    while let Some(command) = commands.pop_front() {
        match command {
            Command::Publish { stage, attempt, not_before } => {
                change.publish(task_of(&job, stage, attempt), not_before)?;
            }
            Command::Watch(at) => change.watch(&job.id, at),
            Command::Record(event) => change.job_event(&job.id, &event)?,
            Command::Register(training) => {
                let adapter_id = register(change, &job, &training).await?;
                let (registered, more) = job.apply(Event::Registered { adapter_id }, change.now())?;
                job = registered;
                commands.extend(more);
            }
            Command::Decide(report) => decide(change, &job, &report).await?,
            Command::Review { verdict, actor, reason } => {
                let to = match verdict {
                    Verdict::Approve => AdapterStatus::Approved,
                    Verdict::Reject => AdapterStatus::Rejected,
                };
                set_status(change, &job, to, (&actor, &reason)).await?;
                note_review(change, &job, ReviewRecord { at: change.now_text(), actor, verdict, reason })
                    .await?;
            }
            Command::Promote => promote(change, &job).await?,
        }
    }
    Ok(job)
}

async fn register(
    change: &mut Change<'_>,
    job: &Job,
    training: &TrainingResult,
) -> Result<String, DriverError> {
    let Some(StageResult::Ingest(dataset)) = job.result(Stage::Ingest) else {
        return Err(Rejected::InputMissing { stage: Stage::Train, missing: Stage::Ingest }.into());
    };
    let created_at = change.now_text();
    let ingest = &job.spec.ingest;
    let lineage = Lineage {
        report: Some(training.report.clone()),
        sources: ingest.shown().sources,
        query: ingest.query.clone(),
        train_records: Some(dataset.train_records),
        steps: Some(training.steps),
        submitted_by: job.spec.labels.get(SUBMITTED_BY).cloned(),
        job: job.id.clone(),
        adapter: training.adapter.clone(),
        training: job.spec.training.clone(),
        dataset: dataset.dataset.clone(),
        source_digest: dataset.source_digest.clone(),
        dataset_key: dataset.key.clone(),
        golden_dataset: job.golden.reference.clone(),
        golden_digest: job.golden.digest.clone(),
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let version = job.spec.version.clone();
    let created_by = format!("job {}", job.id);
    let new = NewVersion { training, lineage, version, created_at, created_by };
    let family = change.family(&job.spec.domain, job.spec.method).await?;
    let registered = family.register(new)?;
    if registered.created {
        let reason = format!("trained by job {}", job.id);
        audit(change, "adapter.registered", &registered.adapter_id, ("coordinator", &reason)).await?;
    }
    Ok(registered.adapter_id)
}

async fn decide(change: &mut Change<'_>, job: &Job, report: &GateReport) -> Result<(), DriverError> {
    let Some(adapter_id) = job.adapter_id.clone() else { return Ok(()) };
    let pass_rate = report.pass_rate;
    let at = change.now_text();
    let evaluation = match job.result(Stage::Judge) {
        Some(StageResult::Judge(evaluation)) => Some(evaluation),
        _ => None,
    };
    let family = change.family(&job.spec.domain, job.spec.method).await?;
    let deciding =
        Deciding { adapter_id: &adapter_id, evaluation: evaluation.map(|judged| &judged.evaluation) };
    let before = family.evaluations_with(&job.golden.digest, Some(deciding));
    let metrics = [
        (Family::SCORE, report.mean),
        ("pass_rate", pass_rate.map(|rate| rate * 100.0)),
        ("golden_dataset_accuracy", pass_rate),
        (Family::EVALUATIONS, report.mean.map(|_| f64::from(before) + 1.0)),
    ];
    let metrics = metrics.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    family.add_metrics(&adapter_id, metrics)?;
    let answers = match job.result(Stage::Generate) {
        Some(StageResult::Generate(answers)) => Some(answers),
        _ => None,
    };
    family.note(&adapter_id, |version| {
        let earlier = version.evaluation.as_ref();
        version.evaluation = Some(EvaluationRecord::new(at, report, answers, evaluation, earlier));
    })?;
    let reasons: Vec<_> = report.reasons.iter().map(|reason| reason.text.as_str()).collect();
    let reasons = reasons.join("; ");
    match AdapterStatus::of_decision(report.decision) {
        Some(to) => set_status(change, job, to, ("gate", &reasons)).await,
        None => audit(change, "adapter.undecided", &adapter_id, ("gate", &reasons)).await,
    }
}

async fn set_status(
    change: &mut Change<'_>,
    job: &Job,
    to: AdapterStatus,
    (actor, reason): (&str, &str),
) -> Result<(), DriverError> {
    let Some(adapter_id) = job.adapter_id.clone() else { return Ok(()) };
    let (at, policy) = (change.now_text(), change.registry);
    let family = change.family(&job.spec.domain, job.spec.method).await?;
    family.set_status(&adapter_id, StatusChange { to, actor, reason, at: &at })?;
    if to == AdapterStatus::Approved {
        sign_in(family, &adapter_id, policy)?;
    }
    audit(change, action_of(to), &adapter_id, (actor, reason)).await
}

async fn note_review(change: &mut Change<'_>, job: &Job, review: ReviewRecord) -> Result<(), DriverError> {
    let Some(adapter_id) = &job.adapter_id else { return Ok(()) };
    let family = change.family(&job.spec.domain, job.spec.method).await?;
    family.note(adapter_id, |version| version.reviews.push(review))?;
    Ok(())
}

async fn promote(change: &mut Change<'_>, job: &Job) -> Result<(), DriverError> {
    let Some(adapter_id) = job.adapter_id.clone() else { return Ok(()) };
    let rollout = RolloutRecord {
        at: change.now_text(),
        actor: "coordinator".to_owned(),
        replaced: None,
        targets: job.spec.rollout_targets.clone(),
    };
    let family = change.family(&job.spec.domain, job.spec.method).await?;
    let before = family.put_into_production(&adapter_id, rollout)?;
    let reason = before.map_or_else(|| "first champion".to_owned(), |before| format!("replaces {before}"));
    audit(change, "adapter.promoted", &adapter_id, ("coordinator", &reason)).await
}
