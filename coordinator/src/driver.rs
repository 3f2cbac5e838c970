//! The driver: event in, `Job::apply`, one atomic commit out.

mod follow;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use clara_lifecycle::{
    adapter::{
        AdapterStatus, AliasError, FourEyesError, ImportError, RegistrationError, RollbackError, StatusError,
    },
    attempt::{ChampionInput, GoldenInput},
    audit::AuditNote,
    id::JobId,
    job::{Event, Job, JobState, Rejected},
    resources::ResourceClass,
    results::StageResult,
    review::ReviewError,
    spec::SpecProblem,
    stage::Stage,
};
use clara_runtime::{
    artifacts::ArtifactError,
    config::CalibrationSettings,
    state::{Limit, StateError, StateStore},
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    change::Change,
    job_cache::JobCache,
    outbox::Relay,
    records::{Records, Stored, is_conflict},
    registry::{RegistryPolicy, signature::SignatureError},
    rollout::Targets,
    scheduler::Schedule,
};

pub(crate) use follow::follow;

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
        "there is no dataset {name}; give a job, an adapter or at least 6 characters of a digest (`clara data list` shows all), \
         or a folder that `clara ingest` or `clara data export` wrote"
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
    /// What jobs pin of golden datasets that they name with a version, which never changes; as few as such versions are.
    pub(crate) pinned: Arc<Mutex<HashMap<String, GoldenInput>>>,
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
            pinned: Arc::default(),
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

    /// Resumes a job, from `from` on where a stage is named; its judge may spend `judge_budget` from now on, which must be
    /// more than before.
    ///
    /// # Errors
    /// As [`Driver::apply`]. A budget that was raised stays so when the job cannot be resumed.
    pub(crate) async fn retry(
        &self,
        job: &JobId,
        from: Option<Stage>,
        judge_budget: Option<f64>,
    ) -> Result<Arc<Job>, DriverError> {
        if let Some(most) = judge_budget {
            self.apply(job, Event::BudgetRaised { most }).await?;
        }
        self.apply(job, Event::RetryRequested { from }).await
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
