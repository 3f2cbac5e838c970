//! The training loop: rows through the engine, steps, validations, checkpoints, and a stop between two rows.

mod error;
mod forecast;
pub mod handler;
mod input;
mod metrics;
mod output;
mod plan;
mod speed;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use clara_runtime::stop::{StopReason, StopSignal};
use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::{Checkpoint, TrainingProgress},
    collate::Rows,
    engine::{AdapterWeights, Batch, BatchLoss, Engine, StepOptions},
    schedule::{LearningRate, as_written},
};

pub use error::{SaveError, Shortage, TrainError};
pub use forecast::{Forecast, Machine};
pub use input::{TrainingInput, TrainingSources};
pub use metrics::{METRICS_FILE, MetricsFile, metrics_lines};
pub use output::{REPORT_FILE, RunReport, report_files, verify_adapter};
use plan::Plan;
pub use speed::Speed;

/// What one optimiser step measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step, counted from 1.
    pub step: u64,
    /// Mean loss of its target tokens, in nats.
    pub loss: f64,
    /// Learning rate.
    #[serde(alias = "lr")]
    pub learning_rate: f64,
    /// L2 norm of all gradients before clipping.
    pub grad_norm: f64,
    /// Tokens passed through the model.
    pub tokens: u64,
    /// Of these, tokens that were learned.
    pub target_tokens: u64,
    /// Time taken.
    pub seconds: f64,
}

/// What one validation measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Steps taken before it.
    pub step: u64,
    /// Mean loss of the validation's target tokens, in nats.
    pub loss: f64,
}

/// Watches a training and keeps its checkpoints.
pub trait TrainObserver {
    /// A row has passed; called often.
    fn row_passed(&mut self) {}

    /// A step was taken; `total_steps` are planned.
    ///
    /// # Errors
    /// [`SaveError`] when it must be recorded and cannot.
    fn stepped(&mut self, record: &StepRecord, total_steps: u64) -> Result<(), SaveError>;

    /// The validation records were measured.
    ///
    /// # Errors
    /// [`SaveError`] when it must be recorded and cannot.
    fn validated(&mut self, record: &ValidationRecord) -> Result<(), SaveError>;

    /// Keeps a checkpoint.
    ///
    /// # Errors
    /// [`SaveError`] when it cannot be kept; the training stops then.
    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), SaveError>;
}

/// How a training ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All steps were taken, or enough validations brought no better loss.
    Finished(Box<Trained>),
    /// It was told to stop; on [`StopReason::Drain`] a checkpoint was kept.
    Stopped(StopReason),
}

/// A finished training.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The adapter.
    pub adapter: AdapterWeights,
    /// Every step.
    pub steps: Vec<StepRecord>,
    /// Every validation; the first before, the last after training. Empty without validation records.
    pub validations: Vec<ValidationRecord>,
    /// Steps taken when the adapter was kept: all, or those before the best validation.
    pub kept_step: u64,
    /// Time spent, interrupted attempts included.
    pub seconds: f64,
}

impl Trained {
    /// Mean validation loss of the adapter, in nats; `None` without validation records.
    pub fn validation_loss(&self) -> Option<f64> {
        let kept = self.validations.iter().rfind(|record| record.step == self.kept_step);
        kept.map(|record| record.loss)
    }
}

/// Trains until the plan is fulfilled, the signal says stop or something fails.
///
/// The adapter depends on `input` and the engine alone: a training that continues from a checkpoint ends with the same
/// bytes as one that was never interrupted.
///
/// # Errors
/// [`TrainError`]: the engine refused something, the loss diverged, a checkpoint could not be kept or does not belong here.
pub fn train(
    engine: &mut dyn Engine,
    input: &TrainingInput,
    from: Option<Checkpoint>,
    observer: &mut dyn TrainObserver,
    stop: &StopSignal,
) -> Result<Outcome, TrainError> {
    let plan = Plan::new(&input.options, input.train.len());
    engine.seed_dropout(input.options.seed);
    let (progress, best) = match from {
        Some(checkpoint) => resume(engine, input, &plan, checkpoint)?,
        None => (begin(engine, input)?, None),
    };
    let before = Duration::try_from_secs_f64(progress.seconds).unwrap_or_default();
    let started = Instant::now();
    let mut run = Run { engine, input, plan, progress, best, observer, stop, started, before };
    run.finish()
}

fn begin(engine: &mut dyn Engine, input: &TrainingInput) -> Result<TrainingProgress, TrainError> {
    match &input.initial_adapter {
        Some(adapter) => engine.load_adapter(adapter)?,
        None => engine.init_adapter(&input.lora, input.options.seed)?,
    }
    Ok(TrainingProgress {
        training: input.digest.clone(),
        epoch: 0,
        row: 0,
        seed: input.options.seed,
        steps: Vec::new(),
        validations: Vec::new(),
        seconds: 0.0,
    })
}

fn resume(
    engine: &mut dyn Engine,
    input: &TrainingInput,
    plan: &Plan,
    checkpoint: Checkpoint,
) -> Result<(TrainingProgress, Option<AdapterWeights>), TrainError> {
    let Checkpoint { state, best, progress } = checkpoint;
    if progress.training != input.digest {
        return Err(TrainError::OtherTraining { expected: input.digest.clone(), found: progress.training });
    }
    let steps = progress.steps.len() as u64;
    let (epoch, row) = plan.position(steps);
    if (progress.epoch, progress.row, state.steps) != (epoch, row, steps) {
        return Err(TrainError::Position { steps, epoch: progress.epoch, row: progress.row });
    }
    engine.restore(&state)?;
    Ok((progress, best))
}

struct Run<'a> {
    engine: &'a mut dyn Engine,
    input: &'a TrainingInput,
    plan: Plan,
    progress: TrainingProgress,
    /// The adapter of the best validation, where it is to be kept.
    best: Option<AdapterWeights>,
    observer: &'a mut dyn TrainObserver,
    stop: &'a StopSignal,
    started: Instant,
    /// Time spent by earlier attempts.
    before: Duration,
}

/// Why work ended early.
enum Interrupt {
    Stop(StopReason),
    Failed(TrainError),
}

impl<E: Into<TrainError>> From<E> for Interrupt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Run<'_> {
    fn finish(&mut self) -> Result<Outcome, TrainError> {
        match self.remaining_steps() {
            Ok(()) => {
                let TrainingProgress { steps, validations, .. } = self.progress.clone();
                let (adapter, kept_step) = match (self.best.take(), best_of(&validations)) {
                    (Some(adapter), Some(best)) => (adapter, best.step),
                    _ => (self.engine.save()?.adapter, steps.len() as u64),
                };
                let seconds = self.seconds();
                Ok(Outcome::Finished(Box::new(Trained { adapter, steps, validations, kept_step, seconds })))
            }
            Err(Interrupt::Stop(reason)) => {
                if reason == StopReason::Drain {
                    self.keep_checkpoint()?;
                }
                Ok(Outcome::Stopped(reason))
            }
            Err(Interrupt::Failed(error)) => Err(error),
        }
    }

    fn remaining_steps(&mut self) -> Result<(), Interrupt> {
        let rate = LearningRate::new(&self.input.options, self.plan.total_steps);
        // A training that was stopped within a validation makes it up.
        if self.progress.validations.is_empty() || self.is_validation_due() {
            self.validate()?;
        }
        for step in self.progress.steps.len() as u64..self.plan.total_steps {
            if self.has_stopped_improving() {
                return Ok(());
            }
            let record = self.step(step, rate.at(step))?;
            self.progress.steps.push(record);
            (self.progress.epoch, self.progress.row) = self.plan.position(record.step);
            self.observer.stepped(&record, self.plan.total_steps)?;
            if self.is_validation_due() {
                self.validate()?;
            }
            let every = u64::from(self.input.options.checkpoint_every);
            if every > 0 && record.step.is_multiple_of(every) {
                self.keep_checkpoint()?;
            }
        }
        if self.progress.validations.last().is_none_or(|last| last.step < self.plan.total_steps) {
            self.validate()?;
        }
        Ok(())
    }

    /// Whether the newest step is one after which the adapter is validated, and was not yet.
    fn is_validation_due(&self) -> bool {
        let (steps, every) = (self.progress.steps.len() as u64, u64::from(self.input.options.validate_every));
        let is_one = every > 0 && steps > 0 && steps.is_multiple_of(every) && steps < self.plan.total_steps;
        is_one && self.progress.validations.last().is_none_or(|last| last.step < steps)
    }

    /// Passes the step's rows through the engine and moves the adapter.
    fn step(&mut self, step: u64, learning_rate: f64) -> Result<StepRecord, Interrupt> {
        let started = Instant::now();
        let rows = self.plan.rows_of(step, &self.input.train);
        let batches = self.joined(rows.iter().map(|row| self.input.train.batch(*row)));
        let target_tokens: usize = batches
            .iter()
            .flat_map(|batch| &batch.labels)
            .filter(|label| **label != crate::engine::IGNORED)
            .count();
        let mut total = BatchLoss::default();
        for batch in &batches {
            self.check_stop()?;
            let loss = self.engine.forward_backward(batch, target_tokens)?;
            total.loss_sum += loss.loss_sum;
            total.target_tokens += loss.target_tokens;
            self.observer.row_passed();
        }
        let loss = mean(total);
        if !loss.is_finite() {
            return Err(self.diverged(step, loss, &rows).into());
        }
        let options = &self.input.options;
        let max_grad_norm = as_written(options.max_grad_norm);
        let settings = StepOptions {
            learning_rate,
            b_rate_ratio: as_written(options.loraplus_lr_ratio),
            weight_decay: as_written(options.weight_decay),
            max_grad_norm: (max_grad_norm > 0.0).then_some(max_grad_norm),
            ..StepOptions::default()
        };
        let report = match self.engine.step(&settings) {
            Ok(report) => report,
            Err(crate::engine::EngineError::NotFinite { norm }) => {
                return Err(self.diverged(step, norm, &rows).into());
            }
            Err(other) => return Err(other.into()),
        };
        Ok(StepRecord {
            step: step + 1,
            loss,
            learning_rate,
            grad_norm: report.grad_norm,
            tokens: batches.iter().map(|batch| batch.tokens.len() as u64).sum(),
            target_tokens: target_tokens as u64,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Rows as batches of the size that the engine asks for.
    fn joined(&self, rows: impl Iterator<Item = Batch>) -> Vec<Batch> {
        let most = self.engine.tokens_per_pass();
        let mut batches: Vec<Batch> = Vec::new();
        for row in rows {
            match batches.last_mut() {
                Some(last) if last.tokens.len() + row.tokens.len() <= most => last.append(row),
                _ => batches.push(row),
            }
        }
        batches
    }

    fn validate(&mut self) -> Result<(), Interrupt> {
        let Some(rows) = &self.input.validation else {
            return Ok(());
        };
        let mut total = BatchLoss::default();
        for batch in self.joined((0..rows.len()).map(|row| rows.batch(row))) {
            self.check_stop()?;
            let loss = self.engine.evaluate(&batch)?;
            total.loss_sum += loss.loss_sum;
            total.target_tokens += loss.target_tokens;
            self.observer.row_passed();
        }
        let record = ValidationRecord { step: self.progress.steps.len() as u64, loss: mean(total) };
        if !record.loss.is_finite() {
            let all: Vec<usize> = (0..rows.len()).collect();
            let documents = documents_of(rows, &all);
            return Err(TrainError::Diverged { step: record.step, value: record.loss, documents }.into());
        }
        self.progress.validations.push(record);
        self.observer.validated(&record)?;
        // Before the first step there is nothing to keep.
        let is_best = record.step > 0 && best_of(&self.progress.validations) == Some(record);
        if is_best && self.input.options.early_stopping_patience > 0 {
            self.best = Some(self.engine.save()?.adapter);
        }
        Ok(())
    }

    /// Whether as many validations as allowed have passed since the best one.
    fn has_stopped_improving(&self) -> bool {
        let patience = self.input.options.early_stopping_patience as usize;
        let Some(best) = best_of(&self.progress.validations).filter(|_| patience > 0) else { return false };
        self.progress.validations.iter().filter(|record| record.step > best.step).count() >= patience
    }

    fn keep_checkpoint(&mut self) -> Result<(), TrainError> {
        self.progress.seconds = self.seconds();
        let (state, best) = (self.engine.save()?, self.best.clone());
        let checkpoint = Checkpoint { state, best, progress: self.progress.clone() };
        Ok(self.observer.checkpoint(&checkpoint)?)
    }

    fn check_stop(&self) -> Result<(), Interrupt> {
        self.stop.reason().map_or(Ok(()), |reason| Err(Interrupt::Stop(reason)))
    }

    fn diverged(&self, step: u64, value: f64, rows: &[usize]) -> TrainError {
        TrainError::Diverged { step: step + 1, value, documents: documents_of(&self.input.train, rows) }
    }

    fn seconds(&self) -> f64 {
        (self.before + self.started.elapsed()).as_secs_f64()
    }
}

/// The documents in some rows, by name.
fn documents_of(all: &Rows, rows: &[usize]) -> String {
    let documents = rows.iter().flat_map(|row| all.documents_of(*row));
    let names: BTreeSet<&str> = documents.map(|document| document.document_id.as_str()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// The validation with the least loss after some training; of equal ones the first.
fn best_of(validations: &[ValidationRecord]) -> Option<ValidationRecord> {
    let trained = validations.iter().filter(|record| record.step > 0);
    trained.copied().reduce(|best, record| if record.loss < best.loss { record } else { best })
}

#[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^53")]
fn mean(total: BatchLoss) -> f64 {
    total.loss_sum / total.target_tokens.max(1) as f64
}

#[cfg(test)]
mod tests;
