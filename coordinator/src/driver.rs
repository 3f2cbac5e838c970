//! The driver: event in, `Job::apply`, one atomic commit out.

use std::{collections::VecDeque, sync::Arc};

use clara_lifecycle::{
    adapter::{
        AdapterStatus, AliasError, Deciding, EvaluationRecord, Family, FourEyesError, ImportError, Lineage,
        NewVersion, RegistrationError, ReviewRecord, RollbackError, RolloutRecord, StatusChange, StatusError,
    },
    attempt::ChampionInput,
    audit::AuditNote,
    gate::GateReport,
    id::JobId,
    job::{Command, Event, Job, JobState, Rejected, Verdict},
    resources::ResourceClass,
    results::{StageResult, TrainingResult},
    review::ReviewError,
    spec::SpecProblem,
    stage::Stage,
};
use clara_runtime::{
    artifacts::ArtifactError,
    config::CalibrationSettings,
    state::{Limit, StateError, StateStore},
};
use tokio::sync::Notify;

use crate::{
    change::{Change, task_of},
    job_cache::JobCache,
    outbox::Relay,
    records::{Records, Stored, is_conflict},
    registry::{RegistryPolicy, sign_in, signature::SignatureError},
    rollout::Targets,
    scheduler::Schedule,
};

/// The label that names who submitted a job.
pub(crate) const SUBMITTED_BY: &str = "submitted_by";

/// How often a commit that lost a race is decided anew.
const RACES: usize = 200;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// There is no such job.
    #[error("there is no job {job}; `clara job list` shows all")]
    UnknownJob {
        /// The job.
        job: String,
    },
    /// There is no such adapter version, or no such alias.
    #[error("there is no adapter {adapter}; `clara registry list` shows all")]
    UnknownAdapter {
        /// As asked for.
        adapter: String,
    },
    /// There is no such golden dataset, draft or version.
    #[error("there is no golden dataset {reference}; `clara golden list` shows all")]
    UnknownGolden {
        /// As asked for.
        reference: String,
    },
    /// There is no such training dataset.
    #[error(
        "there is no dataset {name}; give a job, an adapter or at least 6 characters of a digest: `clara data list` shows all"
    )]
    UnknownDataset {
        /// As asked for.
        name: String,
    },
    /// The request cannot be carried out as it stands.
    #[error("{0}")]
    Invalid(String),
    /// The specification of a job is not valid.
    #[error("the job was refused:{}", listed(.0))]
    Spec(Vec<SpecProblem>),
    /// The event does not apply to the job.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The adapter cannot get a version.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The version's status cannot change so.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// What a reviewer does cannot be done.
    #[error(transparent)]
    Review(#[from] ReviewError),
    /// The family cannot go back.
    #[error(transparent)]
    Rollback(#[from] RollbackError),
    /// A version could not be rolled out.
    #[error("{0}")]
    Rollout(String),
    /// The registry file cannot be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The alias cannot be moved.
    #[error(transparent)]
    Alias(#[from] AliasError),
    /// The approval cannot count.
    #[error(transparent)]
    FourEyes(#[from] FourEyesError),
    /// Something could not be signed, or a signature does not count.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// An adapter is not what was registered.
    #[error("{adapter_id} is not what was registered; restore it from a backup:{}", indented(.problems))]
    NotVerified {
        /// The version.
        adapter_id: String,
        /// What is wrong, with the file named.
        problems: Vec<String>,
    },
    /// A record is not what this version writes.
    #[error("record {key} cannot be used: {reason}; it was written by another version or was damaged")]
    Record {
        /// The record.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The state store failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The artifact store failed.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

fn indented(problems: &[String]) -> String {
    let lines: Vec<_> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    lines.concat()
}

fn listed(problems: &[SpecProblem]) -> String {
    let lines: Vec<_> =
        problems.iter().map(|problem| format!("{} {}", problem.field, problem.message)).collect();
    indented(&lines)
}

/// Applies events to jobs.
#[derive(Debug, Clone)]
pub struct Driver {
    pub(crate) records: Records,
    pub(crate) cache: JobCache,
    pub(crate) schedule: Arc<Schedule>,
    /// The resource classes that jobs may ask for.
    pub(crate) classes: Arc<[ResourceClass]>,
    /// Who may approve, and how versions are signed.
    pub(crate) registry: Arc<RegistryPolicy>,
    /// Told when there may be room for waiting jobs, or new ones.
    pub(crate) wake: Arc<Notify>,
    /// Takes what this coordinator committed and should publish at once.
    pub(crate) relay: Option<Relay>,
    /// When a judge counts as calibrated.
    pub(crate) calibration: CalibrationSettings,
    /// Servers that versions are rolled out to.
    pub(crate) targets: Arc<Targets>,
}

impl Driver {
    /// A driver over `state` that knows the default class alone and whose tasks are published by whoever looks into the
    /// outbox.
    pub fn new(state: Arc<dyn StateStore>, schedule: Schedule) -> Self {
        let (schedule, classes) = (Arc::new(schedule), Arc::new([ResourceClass::default_class()]));
        let (cache, wake) = (JobCache::default(), Arc::new(Notify::new()));
        let (registry, targets, calibration) =
            (Arc::default(), Arc::default(), CalibrationSettings::default());
        Self {
            records: Records { state },
            cache,
            schedule,
            classes,
            registry,
            wake,
            relay: None,
            targets,
            calibration,
        }
    }

    /// Lets `event` happen to a job: decides, commits, and decides anew when another commit was faster.
    ///
    /// # Errors
    /// [`DriverError::Rejected`] when the event does not apply; the others when it could not be stored.
    pub async fn apply(&self, job: &JobId, event: Event) -> Result<Arc<Job>, DriverError> {
        self.apply_within(job, event, Vec::new()).await
    }

    /// Lets `event` happen to a job if `limits` hold.
    ///
    /// # Errors
    /// As [`Driver::apply`], and [`StateError::LimitReached`].
    pub(crate) async fn apply_within(
        &self,
        job: &JobId,
        event: Event,
        limits: Vec<Limit>,
    ) -> Result<Arc<Job>, DriverError> {
        if let Some(copy) = self.cache.get(job) {
            match Box::pin(self.apply_to(&copy, event.clone(), limits.clone())).await {
                // The copy may be older than what the refusal is about.
                Err(DriverError::Rejected(_) | DriverError::Status(_) | DriverError::Registration(_)) => {}
                Err(error) if is_conflict(&error) => {}
                done => return done,
            }
        }
        let mut races = 0;
        loop {
            let stored = self.records.job(job).await?;
            let stored = Stored { version: stored.version, value: Arc::new(stored.value) };
            match Box::pin(self.apply_to(&stored, event.clone(), limits.clone())).await {
                Err(error) if is_conflict(&error) && races < RACES => races += 1,
                done => return done,
            }
        }
    }

    async fn apply_to(
        &self,
        Stored { version, value: before }: &Stored<Arc<Job>>,
        event: Event,
        limits: Vec<Limit>,
    ) -> Result<Arc<Job>, DriverError> {
        let mut change = Change::begin(self).await?;
        let (job, commands) = before.apply(event, change.now())?;
        let job = follow(&mut change, job, commands).await?;
        change.within(limits);
        change.write_job(Some(before), &Stored { version: *version, value: &job })?;
        change.commit().await?;
        let job = self.committed(*version, job);
        let was_active = matches!(before.state, JobState::Active { .. });
        let (is_active, waits) = match job.state {
            JobState::Active { .. } => (true, false),
            JobState::Waiting { .. } => (false, true),
            JobState::Stuck { .. } | JobState::InReview | JobState::Finished { .. } | JobState::Cancelled => {
                (false, false)
            }
        };
        if waits || (was_active && !is_active) {
            self.wake.notify_one();
        }
        Ok(job)
    }

    /// Keeps what was written over `version`.
    pub(crate) fn committed(&self, version: Option<u64>, job: Job) -> Arc<Job> {
        let job = Arc::new(job);
        match job.state {
            JobState::Active { .. } => {
                let version = Some(version.unwrap_or_default() + 1);
                self.cache.put(Stored { version, value: Arc::clone(&job) });
            }
            JobState::Waiting { .. }
            | JobState::Stuck { .. }
            | JobState::InReview
            | JobState::Finished { .. }
            | JobState::Cancelled => self.cache.forget(&job.id),
        }
        job
    }

    /// The version in production that a job's candidate is compared with.
    pub(crate) async fn champion_for(&self, job: &Job) -> Result<Option<ChampionInput>, DriverError> {
        let Some(StageResult::Train(training)) = job.result(Stage::Train) else { return Ok(None) };
        let Some(family) = self.records.family(&job.spec.family()).await? else { return Ok(None) };
        // An adapter of another base model cannot answer on this one.
        let champion = family.value.champion_version().filter(|version| {
            Some(&version.adapter_id) != job.adapter_id.as_ref()
                && version.base_model_hash == training.base_model_digest.as_str()
        });
        Ok(champion.and_then(|version| {
            let lineage = version.lineage.as_ref()?;
            Some(ChampionInput { adapter_id: version.adapter_id.clone(), adapter: lineage.adapter.clone() })
        }))
    }
}

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
                change.publish(task_of(&job, stage, attempt), not_before);
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

/// The audit action of a new status.
pub(crate) fn action_of(status: AdapterStatus) -> &'static str {
    match status {
        AdapterStatus::PendingReview => "adapter.pending_review",
        AdapterStatus::InReview => "adapter.in_review",
        AdapterStatus::Approved => "adapter.approved",
        AdapterStatus::Rejected => "adapter.rejected",
        AdapterStatus::Deprecated => "adapter.deprecated",
    }
}

pub(crate) async fn audit(
    change: &mut Change<'_>,
    action: &'static str,
    subject: &str,
    (actor, reason): (&str, &str),
) -> Result<(), DriverError> {
    let note =
        AuditNote { actor: actor.to_owned(), action, subject: subject.to_owned(), reason: reason.to_owned() };
    change.audit(note).await
}

#[cfg(test)]
mod tests;
