//! The coordinator as a worker sees it: claim, heartbeat and reports, each harmless when repeated.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use clara_lifecycle::{
    attempt::{Assignment, Progress},
    hello::{Hello, Welcome},
    id::{JobId, WorkerId},
    job::AttemptKey,
    log::LogLine,
    results::StageResult,
};

use crate::broker::Task;

pub use grpc::GrpcCoordinator;

mod grpc;
pub mod peers;

/// Asks for the attempt that a task names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The task.
    pub task: Task,
    /// Who asks.
    pub worker: WorkerId,
    /// Names the claim: repeated after an unanswered call it is granted again, another one is refused.
    pub claim_id: String,
}

/// What a claim comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimAnswer {
    /// The attempt is the worker's.
    Granted {
        /// Everything the attempt needs.
        assignment: Box<Assignment>,
        /// The lease ends when no heartbeat comes for so long.
        lease_ttl: Duration,
    },
    /// The attempt is not wanted any more, or is another worker's; the task can be dropped.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Names one claimed attempt; every report carries it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimedAttempt {
    /// The job.
    pub job: JobId,
    /// Stage, attempt and fence.
    pub key: AttemptKey,
}

impl ClaimedAttempt {
    /// The attempt that `assignment` is for.
    pub fn of(assignment: &Assignment) -> Self {
        let Assignment { job, stage, attempt, fence, .. } = assignment;
        Self { job: job.clone(), key: AttemptKey { stage: *stage, attempt: *attempt, fence: *fence } }
    }
}

impl fmt::Display for ClaimedAttempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AttemptKey { stage, attempt, fence } = self.key;
        write!(formatter, "attempt {attempt} of {stage} of {} (fence {fence})", self.job)
    }
}

/// What a worker shall do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive {
    /// Go on; the lease is renewed.
    Continue,
    /// The user cancelled the job: drop the work.
    Cancel,
    /// Save a checkpoint and hand the attempt back; the lease is renewed.
    Drain,
    /// Another attempt owns the stage: touch nothing any more.
    Fenced,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportOutcome {
    /// It was committed.
    Accepted,
    /// The same report was committed before.
    Duplicate,
    /// Another attempt owns the stage, or the job is over.
    Stale,
}

/// Why the coordinator gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoordinatorError {
    /// It could not be reached, or the answer did not come; the effect is unknown.
    #[error("the coordinator at {url} could not be reached: {reason}; check that it runs")]
    Unavailable {
        /// Where it should be.
        url: String,
        /// What failed.
        reason: String,
    },
    /// It does not accept the call.
    #[error(
        "the coordinator at {url} does not accept {call}: {reason}; check that both have the same version"
    )]
    Invalid {
        /// Where it is.
        url: String,
        /// The call.
        call: &'static str,
        /// What it said.
        reason: String,
    },
}

impl CoordinatorError {
    /// Whether the same call may succeed when repeated.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Invalid { .. } => false,
        }
    }
}

/// The coordinator as a worker sees it. Every call may be repeated: receiving anything twice is harmless.
#[async_trait]
pub trait Coordinator: Send + Sync + fmt::Debug {
    /// Tells who works, and hears what the coordinator speaks and which resource classes the worker serves.
    async fn hello(&self, hello: &Hello) -> Result<Welcome, CoordinatorError>;

    /// Turns a task into a lease, or refuses it.
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, CoordinatorError>;

    /// Renews the lease and tells how far the attempt is.
    async fn heartbeat(
        &self,
        attempt: &ClaimedAttempt,
        progress: &Progress,
    ) -> Result<Directive, CoordinatorError>;

    /// Commits a result.
    async fn complete(
        &self,
        attempt: &ClaimedAttempt,
        result: &StageResult,
    ) -> Result<ReportOutcome, CoordinatorError>;

    /// Reports a failed attempt.
    async fn fail(
        &self,
        attempt: &ClaimedAttempt,
        message: &str,
        retryable: bool,
    ) -> Result<ReportOutcome, CoordinatorError>;

    /// Gives an attempt back without a failure.
    async fn hand_back(&self, attempt: &ClaimedAttempt) -> Result<ReportOutcome, CoordinatorError>;

    /// Keeps lines that the attempt logged, in order of their numbers; those that were kept before are left as they are.
    async fn append_log(&self, attempt: &ClaimedAttempt, lines: &[LogLine]) -> Result<(), CoordinatorError>;
}
