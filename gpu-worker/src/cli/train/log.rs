//! What `gpu-worker train` tells while it trains, and where it keeps metrics and checkpoints.

use std::{io, path::Path};

use anyhow::Context as _;

use crate::{
    checkpoint::{Checkpoint, CheckpointFolder, TrainingProgress},
    train::{MetricsFile, SaveError, Speed, StepRecord, TrainObserver, ValidationRecord},
};

/// Writes `metrics.jsonl`, and one line for people to standard error.
#[derive(Debug)]
pub(super) struct StepLog {
    metrics: MetricsFile,
    checkpoints: CheckpointFolder,
    speed: Speed,
}

impl StepLog {
    /// Continues the file of the attempt that got so far, or begins it.
    pub(super) fn open(
        path: &Path,
        before: Option<&TrainingProgress>,
        checkpoints: CheckpointFolder,
    ) -> anyhow::Result<Self> {
        let steps = before.map(|before| before.steps.as_slice()).unwrap_or_default();
        let validations = before.map(|before| before.validations.as_slice()).unwrap_or_default();
        let metrics = MetricsFile::open(path, steps, validations)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { metrics, checkpoints, speed: Speed::default() })
    }
}

impl TrainObserver for StepLog {
    fn stepped(&mut self, record: &StepRecord, total_steps: u64) -> Result<(), SaveError> {
        self.speed.add(record);
        let rate = self.speed.tokens_per_second();
        let left = self.speed.seconds_left(total_steps.saturating_sub(record.step));
        eprintln!(
            "step {}/{total_steps}  loss {:.4}  lr {:.2e}  norm {:.3}  {rate:.0} tokens/s  {left:.0} s left",
            record.step, record.loss, record.learning_rate, record.grad_norm,
        );
        self.metrics.step(record).map_err(not_written)
    }

    fn validated(&mut self, record: &ValidationRecord) -> Result<(), SaveError> {
        eprintln!("validation after step {}: loss {:.4}", record.step, record.loss);
        self.metrics.validation(record).map_err(not_written)
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), SaveError> {
        self.checkpoints.add(checkpoint).map(|_| ()).map_err(|error| SaveError::new("a checkpoint", &error))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by value")]
fn not_written(error: io::Error) -> SaveError {
    SaveError::new("the metrics", &error)
}
