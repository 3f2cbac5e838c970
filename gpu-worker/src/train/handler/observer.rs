//! Reports a training's progress to the worker loop and stores its checkpoints.

use std::path::PathBuf;

use clara_lifecycle::attempt::Assignment;
use clara_runtime::{
    artifacts::ArtifactStore,
    metrics,
    stop::{StopReason, StopSignal},
    worker::{AttemptContext, ProgressSender},
};
use tokio::runtime::Handle;

use crate::{
    checkpoint::Checkpoint,
    train::{SaveError, StepRecord, TrainObserver, ValidationRecord},
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
    /// Steps, tokens and seconds of this attempt.
    done: (u64, u64, f64),
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
            done: (0, 0, 0.0),
        }
    }
}

impl TrainObserver for StageObserver {
    fn row_passed(&mut self) {
        self.progress.update(|_| {});
    }

    #[expect(clippy::cast_precision_loss, reason = "step and token counts are far below 2^53")]
    fn stepped(&mut self, record: &StepRecord, total_steps: u64) -> Result<(), SaveError> {
        let (steps, tokens, seconds) = &mut self.done;
        metrics::tokens_trained(record.tokens);
        *steps += 1;
        *tokens += record.tokens;
        *seconds += record.seconds;
        let rate = *tokens as f64 / seconds.max(f64::MIN_POSITIVE);
        let left = total_steps.saturating_sub(record.step) as f64 * (*seconds / *steps as f64);
        self.progress.update(|progress| {
            progress.done = record.step;
            progress.total = Some(total_steps);
            "steps".clone_into(&mut progress.unit);
            let figures = [("loss", record.loss), ("tokens_per_second", rate), ("seconds_left", left)];
            progress.figures.extend(figures.map(|(name, value)| (name.to_owned(), value)));
        });
        Ok(())
    }

    fn validated(&mut self, record: &ValidationRecord) {
        self.progress.update(|progress| {
            progress.figures.insert("validation_loss".to_owned(), record.loss);
        });
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
