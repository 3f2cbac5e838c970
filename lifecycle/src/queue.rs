//! What waits where, and why a job waits: what `clara queue` shows.

use serde::{Deserialize, Serialize};

use crate::{
    attempt::Progress,
    id::{Attempt, ClassName, JobId},
    job::Outcome,
    resources::PriorityBand,
    retry::Failure,
    stage::Stage,
    time::Timestamp,
};

/// All queues at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueOverview {
    /// The queues, by stage, then by band, the most urgent first.
    pub queues: Vec<QueueLine>,
    /// Messages that the broker set aside; `None` when it gave no answer.
    pub dead_letters: Option<u64>,
    /// Jobs that the scheduler has not admitted.
    pub waiting_jobs: u64,
    /// Jobs that are active, and how many may be.
    pub active_jobs: u64,
    /// Most active jobs in all.
    pub max_active_jobs: u64,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLine {
    /// Its name at the broker.
    pub queue: String,
    /// The stage of its tasks.
    pub stage: Stage,
    /// The resource class that they ask for.
    pub class: ClassName,
    /// How urgent they are.
    pub band: PriorityBand,
    /// Attempts that may be claimed.
    pub waiting: u64,
    /// How long the oldest of them has waited, in milliseconds.
    pub oldest_ms: Option<u64>,
    /// Messages in it; `None` when the broker gave no answer. Repeated and outdated tasks count too.
    pub messages: Option<u64>,
    /// Attempts from it that workers hold a lease for.
    pub running: u64,
    /// Workers that take tasks from it and were heard of lately.
    pub workers: u64,
}

/// Why a job is where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The job.
    pub job: JobId,
    /// The moment, on the state store's clock.
    pub at: Timestamp,
    /// Where it stands, and why.
    pub standing: Standing,
}

/// Where a job stands, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Standing {
    /// The scheduler has not admitted it.
    Waiting {
        /// The stage that comes next.
        stage: Stage,
        /// Whose jobs share fairly; empty for jobs without the label `tenant`.
        tenant: String,
        /// Its place among the tenant's waiting jobs, from 1.
        place: u64,
        /// The tenant's waiting jobs.
        of: u64,
        /// The tenant's active jobs.
        active: u64,
        /// The tenant's weight.
        weight: f64,
        /// What holds the tenant's first job back; nothing means that it is admitted within a moment.
        held_by: Vec<Hold>,
    },
    /// An attempt failed, and the next one may not start yet.
    BackOff {
        /// The stage.
        stage: Stage,
        /// The attempt that comes.
        attempt: Attempt,
        /// When it may start.
        until: Timestamp,
        /// Failed attempts so far.
        failures: u32,
        /// After so many the job is stuck.
        max_attempts: u32,
        /// The newest failure.
        failure: Option<Failure>,
    },
    /// A task asks for its attempt.
    Queued {
        /// The stage.
        stage: Stage,
        /// The attempt.
        attempt: Attempt,
        /// The queue of its task.
        queue: String,
        /// The resource class that its workers must serve.
        class: ClassName,
        /// When it could first be claimed.
        since: Timestamp,
        /// Attempts for the same workers that are more urgent or have waited longer.
        ahead: u64,
        /// Workers that serve it and were heard of lately.
        workers: u64,
        /// Attempts that those workers can carry out at the same time.
        slots: u64,
    },
    /// A worker has it.
    Leased {
        /// The stage.
        stage: Stage,
        /// The attempt.
        attempt: Attempt,
        /// The worker.
        worker: String,
        /// When it was claimed.
        since: Option<Timestamp>,
        /// Unless the worker is heard again, the lease ends then.
        expires_at: Timestamp,
        /// How far it has come.
        progress: Box<Progress>,
    },
    /// A stage failed for good.
    Stuck {
        /// The stage.
        stage: Stage,
        /// The failure.
        failure: Option<Failure>,
    },
    /// A person must decide.
    InReview {
        /// On this version.
        adapter_id: Option<String>,
    },
    /// It is over.
    Finished {
        /// How it ended.
        outcome: Outcome,
    },
    /// A user ended it.
    Cancelled,
}

/// What keeps a tenant's first waiting job from going on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Hold {
    /// As many jobs as allowed are active in all.
    AllJobs {
        /// Active jobs.
        active: u64,
        /// Most active jobs.
        limit: u64,
    },
    /// As many jobs of the tenant as allowed are active.
    Tenant {
        /// Its active jobs.
        active: u64,
        /// Its most active jobs.
        limit: u64,
    },
    /// A job of another tenant comes first: it is more urgent, or its tenant has fewer active jobs for its weight.
    Turn {
        /// That tenant.
        tenant: String,
        /// Its active jobs.
        active: u64,
        /// Its weight.
        weight: f64,
        /// Whether its job is more urgent.
        is_more_urgent: bool,
    },
}
