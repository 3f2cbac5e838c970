//! What `gpu-worker train` tells while it trains, and where it keeps checkpoints.

use std::{fs::File, io::Write as _, path::Path};

use anyhow::Context as _;

use crate::{
    checkpoint::{Checkpoint, CheckpointFolder},
    train::{SaveError, StepRecord, TrainObserver, ValidationRecord},
};

/// Writes one JSON line per step to a file and one line for people to standard error.
#[derive(Debug)]
pub(super) struct StepLog {
    lines: Option<File>,
    checkpoints: CheckpointFolder,
    tokens: u64,
    seconds: f64,
}

impl StepLog {
    /// Starts the file with the steps of earlier attempts, so that it always holds every step once.
    pub(super) fn open(
        path: Option<&Path>,
        earlier: &[StepRecord],
        checkpoints: CheckpointFolder,
    ) -> anyhow::Result<Self> {
        let lines = match path {
            None => None,
            Some(path) => {
                Some(File::create(path).with_context(|| format!("cannot create {}", path.display()))?)
            }
        };
        let mut log = Self { lines, checkpoints, tokens: 0, seconds: 0.0 };
        for record in earlier {
            log.write(record)?;
        }
        Ok(log)
    }

    fn write(&mut self, record: &StepRecord) -> Result<(), SaveError> {
        let Some(file) = &mut self.lines else {
            return Ok(());
        };
        let mut line = serde_json::to_vec(record).map_err(|error| SaveError::new("the step log", &error))?;
        line.push(b'\n');
        file.write_all(&line).map_err(|error| SaveError::new("the step log", &error))
    }
}

impl TrainObserver for StepLog {
    #[expect(clippy::cast_precision_loss, reason = "step and token counts are far below 2^53")]
    fn stepped(&mut self, record: &StepRecord, total_steps: u64) -> Result<(), SaveError> {
        self.tokens += record.tokens;
        self.seconds += record.seconds;
        let rate = self.tokens as f64 / self.seconds.max(f64::MIN_POSITIVE);
        let left = total_steps.saturating_sub(record.step) as f64 * record.seconds;
        eprintln!(
            "step {}/{total_steps}  loss {:.4}  lr {:.2e}  norm {:.3}  {rate:.0} tokens/s  {left:.0} s left",
            record.step, record.loss, record.lr, record.grad_norm,
        );
        self.write(record)
    }

    fn validated(&mut self, record: &ValidationRecord) {
        eprintln!("validation after step {}: loss {:.4}", record.step, record.loss);
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), SaveError> {
        self.checkpoints.add(checkpoint).map(|_| ()).map_err(|error| SaveError::new("a checkpoint", &error))
    }
}
