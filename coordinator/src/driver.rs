//! The driver: event in, `Job::apply`, one atomic commit out.

mod follow;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use clara_lifecycle::{
    adapter::{
        AdapterStatus, AliasError, Deciding, Family, FourEyesError, ImportError, RegistrationError,
        RollbackError, StatusError,
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
    copies::{Copies, FamilyAndHead},
    outbox::Relay,
    records::{Records, Stored, family_key, is_conflict},
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
    pub(crate) copies: Copies,
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
        let (copies, wake) = (Copies::default(), Arc::new(Notify::new()));
        let (registry, targets, calibration) =
            (Arc::default(), Arc::default(), CalibrationSettings::default());
        Self {
            records: Records { state },
            copies,
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
        if let Some(copy) = self.copies.jobs.get(job.as_str())
            && let Some(done) = self.apply_on_copies(&copy, event.clone(), limits.clone(), None).await
        {
            return done;
        }
        let mut races = 0;
        loop {
            let stored = self.records.job(job).await?;
            let stored = Stored { version: stored.version, value: Arc::new(stored.value) };
            let change = Change::begin(self).await?;
            match Box::pin(self.apply_to(&stored, event.clone(), limits.clone(), change)).await {
                Err(error) if is_conflict(&error) && races < RACES => races += 1,
                done => return done,
            }
        }
    }

    /// Lets `event` happen to the copy of a job, unless the family that it was decided with has changed. `None` after a
    /// conflict or a refusal, which must be decided anew on what is stored: the copies, now forgotten, may be old.
    pub(crate) async fn apply_on_copies(
        &self,
        copy: &Stored<Arc<Job>>,
        event: Event,
        limits: Vec<Limit>,
        family: Option<&Stored<Arc<FamilyAndHead>>>,
    ) -> Option<Result<Arc<Job>, DriverError>> {
        let tried = async {
            let mut change = Change::begin(self).await?.on_copies();
            if let Some(Stored { version, value }) = family {
                change.unless_changed(family_key(&value.family.family_id), *version);
            }
            Box::pin(self.apply_to(copy, event, limits, change)).await
        };
        match tried.await {
            Ok(job) => Some(Ok(job)),
            Err(error) if is_conflict(&error) => None,
            Err(error @ DriverError::State(_)) => Some(Err(error)),
            Err(_) => {
                self.copies.jobs.forget(copy.value.id.as_str());
                self.copies.families.forget(&copy.value.spec.family());
                None
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
        mut change: Change<'_>,
    ) -> Result<Arc<Job>, DriverError> {
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
                let stored = Stored { version, value: Arc::clone(&job) }.committed();
                self.copies.jobs.put(job.id.as_str(), stored, 1);
            }
            JobState::Waiting { .. }
            | JobState::Stuck { .. }
            | JobState::InReview
            | JobState::Finished { .. }
            | JobState::Cancelled => self.copies.jobs.forget(job.id.as_str()),
        }
        job
    }
}

/// The version in production that a job's candidate is compared with.
pub(crate) fn champion_for(job: &Job, family: &Family) -> Option<ChampionInput> {
    let Some(StageResult::Train(training)) = job.result(Stage::Train) else { return None };
    // An adapter of another base model cannot answer on this one.
    let champion = family.champion_version().filter(|version| {
        Some(&version.adapter_id) != job.adapter_id.as_ref()
            && version.base_model_hash == training.base_model_digest.as_str()
    })?;
    let lineage = champion.lineage.as_ref()?;
    Some(ChampionInput { adapter_id: champion.adapter_id.clone(), adapter: lineage.adapter.clone() })
}

/// How many evaluations of the job's family with its golden dataset led to a decision before, repeats of its own version
/// included.
pub(crate) fn evaluations_before(job: &Job, family: &Family) -> u32 {
    let evaluation = match job.result(Stage::Judge) {
        Some(StageResult::Judge(judged)) => Some(&judged.evaluation),
        _ => None,
    };
    let deciding = job.adapter_id.as_deref().map(|adapter_id| Deciding { adapter_id, evaluation });
    family.evaluations_with(&job.golden.digest, deciding)
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
