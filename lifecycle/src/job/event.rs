//! What can happen to a job, what follows from it, and why something is refused.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    attempt::Progress,
    gate::GateReport,
    id::{Attempt, Fence},
    results::{StageResult, TrainingResult},
    stage::Stage,
    time::Timestamp,
};

/// Names one claimed attempt; every report carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptKey {
    /// The stage.
    pub stage: Stage,
    /// The attempt.
    pub attempt: Attempt,
    /// The fence of the claim.
    pub fence: Fence,
}

/// How long a lease lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// The lease ends when no heartbeat came for so long.
    pub ttl: Duration,
    /// The lease ends when the progress counter did not grow for so long.
    pub progress_within: Duration,
}

/// What a reviewer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Use it.
    Approve,
    /// Do not use it.
    Reject,
}

/// What can happen to a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A worker with a ticket asks for the attempt.
    Claimed {
        /// The stage on the ticket.
        stage: Stage,
        /// The attempt on the ticket.
        attempt: Attempt,
        /// The worker's name.
        worker: String,
        /// Names the claim; the same claim may be asked again.
        claim: String,
        /// How long the lease lasts.
        terms: LeaseTerms,
    },
    /// The worker is alive and tells how far it is.
    Heartbeat {
        /// The attempt.
        key: AttemptKey,
        /// How far it is.
        progress: Progress,
        /// How long the renewed lease lasts.
        terms: LeaseTerms,
    },
    /// The worker has a result.
    Completed {
        /// The attempt.
        key: AttemptKey,
        /// The result.
        result: Arc<StageResult>,
    },
    /// The attempt failed.
    Failed {
        /// The attempt.
        key: AttemptKey,
        /// What failed, what was expected, what to do.
        message: String,
        /// Whether a repetition may help.
        retryable: bool,
    },
    /// The worker shuts down and gives the attempt back; this is no failure.
    HandedBack {
        /// The attempt.
        key: AttemptKey,
    },
    /// The reaper looks at the lease, or at a task that nobody claimed.
    DeadlinePassed,
    /// The scheduler lets a waiting job go on.
    Admitted,
    /// The training was accepted and the registry gave it a version.
    Registered {
        /// The version, e.g. `verwaltungsrecht-lora-v1.0.0`.
        adapter_id: String,
    },
    /// A user ends the job.
    CancelRequested,
    /// A user resumes a job at rest.
    RetryRequested {
        /// From which stage; without it the one that stopped the job.
        from: Option<Stage>,
    },
    /// A user lets a stuck job spend more on its judge.
    BudgetRaised {
        /// The most that it may spend from now on, in the budget's currency.
        most: f64,
    },
    /// A human decided on a job in review.
    Reviewed {
        /// What they decided.
        verdict: Verdict,
        /// Who.
        actor: String,
        /// Why.
        reason: String,
    },
}

/// What follows from an event; stored and sent by the driver in one commit with the job.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Ask for an attempt.
    Publish {
        /// The stage.
        stage: Stage,
        /// The attempt.
        attempt: Attempt,
        /// Earliest time.
        not_before: Timestamp,
    },
    /// Look at the job again at this time; `None` removes the look.
    Watch(Option<Timestamp>),
    /// Allocate a version for the adapter.
    Register(Box<TrainingResult>),
    /// Set the version's status by the gate's report.
    Decide(Box<GateReport>),
    /// Set the version's status by a human's verdict.
    Review {
        /// What they decided.
        verdict: Verdict,
        /// Who.
        actor: String,
        /// Why.
        reason: String,
    },
    /// Make the version champion of its family.
    Promote,
    /// Append to the job's event stream.
    Record(JobEvent),
}

/// What a follower of a job sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JobEvent {
    /// The job was accepted.
    Submitted,
    /// An attempt waits for a worker.
    Queued {
        /// The stage.
        stage: Stage,
        /// The attempt.
        attempt: Attempt,
        /// Earliest start.
        not_before: Timestamp,
    },
    /// A worker began.
    Claimed {
        /// The stage.
        stage: Stage,
        /// The attempt.
        attempt: Attempt,
        /// The worker.
        worker: String,
    },
    /// A worker told how far it is.
    Progressed {
        /// The stage.
        stage: Stage,
        /// How far it is.
        progress: Progress,
    },
    /// A stage's result was committed.
    Succeeded {
        /// The result.
        #[serde(with = "crate::shared")]
        result: Arc<StageResult>,
    },
    /// An attempt failed; another one is queued unless `stuck` follows.
    Failed {
        /// The stage.
        stage: Stage,
        /// The attempt.
        attempt: Attempt,
        /// Why.
        message: String,
    },
    /// A worker gave an attempt back.
    HandedBack {
        /// The stage.
        stage: Stage,
        /// The attempt.
        attempt: Attempt,
    },
    /// The job waits for a retry.
    Stuck {
        /// The stage that failed for good.
        stage: Stage,
        /// Why.
        message: String,
    },
    /// The adapter got a version.
    Registered {
        /// The version.
        adapter_id: String,
    },
    /// The job waits for a human.
    InReview,
    /// A human decided.
    Reviewed {
        /// What.
        verdict: Verdict,
        /// Who.
        actor: String,
        /// Why.
        reason: String,
    },
    /// A user ended the job.
    Cancelled,
    /// A user resumed the job.
    Retried {
        /// From this stage on.
        from: Stage,
    },
    /// A user lets the job spend more on its judge.
    BudgetRaised {
        /// The most that it may spend from now on, in the budget's currency.
        most: f64,
    },
    /// The job is over.
    Finished {
        /// How it ended.
        outcome: Outcome,
    },
}

impl JobEvent {
    /// Whether a job may be at rest after it. No other event comes with a job's coming to rest.
    pub fn may_end(&self) -> bool {
        match self {
            Self::Stuck { .. } | Self::InReview | Self::Cancelled | Self::Finished { .. } => true,
            Self::Submitted
            | Self::Queued { .. }
            | Self::Claimed { .. }
            | Self::Progressed { .. }
            | Self::Succeeded { .. }
            | Self::Failed { .. }
            | Self::HandedBack { .. }
            | Self::Registered { .. }
            | Self::Reviewed { .. }
            | Self::Retried { .. }
            | Self::BudgetRaised { .. } => false,
        }
    }
}

/// Why an event changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Another attempt of the stage is the live one.
    #[error("attempt {got} is not the live one; attempt {live} is")]
    StaleAttempt {
        /// The attempt of the event.
        got: Attempt,
        /// The live one.
        live: Attempt,
    },
    /// Another claim of the attempt is the live one.
    #[error("fence {got} is not the live one; fence {live} is")]
    StaleFence {
        /// The fence of the event.
        got: Fence,
        /// The live one.
        live: Fence,
    },
    /// The attempt is claimed already.
    #[error("the attempt is already claimed by worker {by}")]
    AlreadyClaimed {
        /// Who has it.
        by: String,
    },
    /// The same report was accepted before.
    #[error("the report was accepted before")]
    Duplicate,
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// The lease did not end yet.
    #[error("no deadline has passed")]
    NotDue,
    /// A result of another stage than the attempt's.
    #[error("a result of stage {got} was reported for stage {expected}")]
    WrongResult {
        /// Stage of the result.
        got: Stage,
        /// Stage of the attempt.
        expected: Stage,
    },
    /// A registered adapter is immutable, so its job cannot train another one.
    #[error(
        "adapter {adapter_id} is already registered for this job, and versions are immutable; \
         retry from `generate` or a later stage, or submit a new job"
    )]
    AlreadyRegistered {
        /// The version.
        adapter_id: String,
    },
    /// A stage before it has no result yet.
    #[error("stage {stage} cannot start: stage {missing} has no result yet; retry from {missing}")]
    InputMissing {
        /// The stage.
        stage: Stage,
        /// The stage before it.
        missing: Stage,
    },
    /// The amount is none that the job's budget could be raised to.
    #[error("the judge's budget cannot become {most}: {reason}")]
    Budget {
        /// The amount as given.
        most: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The job is in a state in which this cannot happen.
    #[error("this cannot happen to a job that is {state}")]
    NotApplicable {
        /// The state, for people.
        state: &'static str,
    },
}
