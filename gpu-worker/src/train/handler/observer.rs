//! Reports a training's progress to the worker loop and stores its checkpoints.

use std::path::PathBuf;

use clara_lifecycle::attempt::Assignment;
use clara_runtime::{
    artifacts::ArtifactStore,
    memory::resident_bytes,
    metrics,
    stop::{StopReason, StopSignal},
    worker::{AttemptContext, ProgressSender},
};
use tokio::runtime::Handle;

use crate::{
    checkpoint::Checkpoint,
    train::{SaveError, Speed, StepRecord, TrainObserver, ValidationRecord},
};

const WHAT: &str = "a checkpoint";

/// Lives on the blocking thread of an attempt.
pub(super) struct StageObserver {
    assignment: Assignment,
    artifacts: ArtifactStore,
    scratch: PathBuf,
    progress: ProgressSender,
    stop: StopSignal,
    runtime: Handle,
    stored_step: Option<u64>,
    speed: Speed,
}

impl StageObserver {
    /// Must be called on the runtime.
    pub(super) fn new(context: &AttemptContext) -> Self {
        Self {
            assignment: context.assignment.clone(),
            artifacts: context.artifacts.clone(),
            scratch: context.scratch.clone(),
            progress: context.progress.clone(),
            stop: context.stop.clone(),
            runtime: Handle::current(),
            stored_step: None,
            speed: Speed::default(),
        }
    }
}

impl TrainObserver for StageObserver {
    fn row_passed(&mut self) {
        self.progress.update(|_| {});
    }

    #[expect(clippy::cast_precision_loss, reason = "no process holds 2^53 bytes")]
    fn stepped(&mut self, record: &StepRecord, total_steps: u64) -> Result<(), SaveError> {
        metrics::tokens_trained(record.tokens);
        self.speed.add(record);
        let left = self.speed.seconds_left(total_steps.saturating_sub(record.step));
        let resident = resident_bytes().map(|bytes| ("resident_bytes", bytes as f64));
        self.progress.update(|progress| {
            progress.done = record.step;
            progress.total = Some(total_steps);
            "steps".clone_into(&mut progress.unit);
            let figures = [
                ("loss", record.loss),
                ("learning_rate", record.learning_rate),
                ("grad_norm", record.grad_norm),
                ("tokens_per_second", self.speed.tokens_per_second()),
                ("seconds_left", left),
            ];
            let figures = figures.into_iter().chain(resident);
            progress.figures.extend(figures.map(|(name, value)| (name.to_owned(), value)));
            progress.measured(record.into());
        });
        Ok(())
    }

    fn validated(&mut self, record: &ValidationRecord) -> Result<(), SaveError> {
        self.progress.update(|progress| {
            progress.figures.insert("validation_loss".to_owned(), record.loss);
            progress.measured(record.into());
        });
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), SaveError> {
        let step = checkpoint.state.steps;
        let may_write = !matches!(self.stop.reason(), Some(StopReason::Cancel | StopReason::Fenced));
        if !may_write || self.stored_step == Some(step) {
            return Ok(());
        }
        let name = format!("checkpoint-{step}");
        let folder = self.scratch.join(&name);
        std::fs::create_dir_all(&self.scratch).map_err(|error| SaveError::new(WHAT, &error))?;
        checkpoint.write(&folder).map_err(|error| SaveError::new(WHAT, &error))?;
        let prefix = self.assignment.prefix(&name);
        let stored = self
            .runtime
            .block_on(self.artifacts.put_folder(&prefix, &folder))
            .map_err(|error| SaveError::new(WHAT, &error))?;
        std::fs::remove_dir_all(&folder).map_err(|error| SaveError::new(WHAT, &error))?;
        self.stored_step = Some(step);
        self.progress.update(|progress| progress.checkpoint = Some(stored));
        Ok(())
    }
}
