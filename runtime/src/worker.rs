//! What a stage's code looks like to the worker loop: a handler that turns an assignment into a result.

use std::path::PathBuf;

use async_trait::async_trait;
use clara_lifecycle::{
    attempt::{Assignment, Progress},
    results::StageResult,
    stage::Stage,
};
use tokio::sync::watch;

use crate::{
    artifacts::{ArtifactError, ArtifactStore},
    daemon::with_causes,
    stop::{StopReason, StopSignal},
};

/// The code of one stage.
#[async_trait]
pub trait StageHandler: Send + Sync {
    /// The stage it carries out.
    fn stage(&self) -> Stage;

    /// Whether an attempt may compute or wait without yielding; it then gets a thread of its own. Default yes.
    fn may_block(&self) -> bool {
        true
    }

    /// Why no further attempt can succeed in this process, for example because its GPU was lost; the worker then ends with an
    /// error, so that its supervisor starts it anew. Default: none.
    fn unusable(&self) -> Option<String> {
        None
    }

    /// Carries out one attempt. Long computations look at `context.stop` at least once a second.
    ///
    /// # Errors
    /// [`StageFailure`] says whether a repetition may help.
    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure>;
}

/// What an attempt works with.
#[derive(Debug)]
pub struct AttemptContext {
    /// The job's specification, the results so far, the fence.
    pub assignment: Assignment,
    /// Where results and checkpoints go.
    pub artifacts: ArtifactStore,
    /// A folder for this attempt alone. It is not there until the handler makes it, and is removed afterwards.
    pub scratch: PathBuf,
    /// Tells how far the attempt has come.
    pub progress: ProgressSender,
    /// Tells the attempt to stop.
    pub stop: StopSignal,
}

/// Why an attempt gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageFailure {
    /// It failed.
    #[error("{message}")]
    Failed {
        /// What failed, what was expected, what was found, what to do.
        message: String,
        /// Whether the same attempt may succeed when repeated.
        retryable: bool,
    },
    /// It was told to stop, and did.
    #[error("the attempt was stopped: {0:?}")]
    Stopped(StopReason),
}

impl StageFailure {
    /// A failure with everything that caused it.
    pub fn of(error: &(dyn std::error::Error + 'static), retryable: bool) -> Self {
        Self::Failed { message: with_causes(error), retryable }
    }

    /// A failure that no repetition mends: bad input.
    pub fn permanent(error: impl std::fmt::Display) -> Self {
        Self::Failed { message: error.to_string(), retryable: false }
    }

    /// A failure of the surroundings, such as a full disk or a lost connection.
    pub fn retryable(error: impl std::fmt::Display) -> Self {
        Self::Failed { message: error.to_string(), retryable: true }
    }
}

impl From<ArtifactError> for StageFailure {
    fn from(error: ArtifactError) -> Self {
        Self::of(&error, error.is_retryable())
    }
}

/// Tells how far an attempt has come; the newest value travels with the next heartbeat.
#[derive(Debug, Clone)]
pub struct ProgressSender(watch::Sender<Progress>);

impl ProgressSender {
    /// A sender and the receiving end of its newest value.
    pub fn new() -> (Self, watch::Receiver<Progress>) {
        let (sender, receiver) = watch::channel(Progress::default());
        (Self(sender), receiver)
    }

    /// Changes the progress and counts one more piece of work done.
    pub fn update(&self, change: impl FnOnce(&mut Progress)) {
        self.0.send_modify(|progress| {
            progress.counter += 1;
            change(progress);
        });
    }
}
