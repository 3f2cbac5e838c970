//! What a training measured step by step: the points of a job, and the curve that they make.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::{job::JobEvent, stage::Stage};

/// What one optimiser step or one validation measured; a line of `metrics.jsonl`, which may have more fields.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CurvePoint {
    /// Of a step.
    Step(StepPoint),
    /// Of a validation.
    Validation(ValidationPoint),
}

/// What one optimiser step measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepPoint {
    /// The step, counted from 1.
    pub step: u64,
    /// Mean loss of its target tokens, in nats.
    pub loss: f64,
    /// Learning rate.
    #[serde(alias = "lr")]
    pub learning_rate: f64,
    /// L2 norm of all gradients before clipping.
    pub grad_norm: f64,
}

/// What one validation measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationPoint {
    /// Steps taken before it.
    pub step: u64,
    /// Mean loss of the validation's target tokens, in nats.
    pub validation_loss: f64,
}

/// The steps and validations of one training, each in order of their steps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrainingCurve {
    /// What the steps measured.
    pub steps: Vec<StepPoint>,
    /// What the validations measured.
    pub validations: Vec<ValidationPoint>,
}

impl TrainingCurve {
    /// Reads the lines of `metrics.jsonl`.
    ///
    /// # Errors
    /// The first line that is no point, counted from 1, and what is wrong with it.
    pub fn of_lines(lines: &str) -> Result<Self, (usize, serde_json::Error)> {
        let mut curve = Self::default();
        for (index, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            curve.add(serde_json::from_str(line).map_err(|error| (index + 1, error))?);
        }
        Ok(curve)
    }

    /// Whether nothing was measured yet.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.validations.is_empty()
    }

    /// Adds what an event of the job tells about its training. Answers whether the curve changed.
    pub fn see(&mut self, event: &JobEvent) -> bool {
        if let JobEvent::Progressed { stage: Stage::Train, progress } = event {
            for point in &progress.points {
                self.add(*point);
            }
            return !progress.points.is_empty();
        }
        if let JobEvent::Retried { from: Stage::Ingest | Stage::Train } = event {
            *self = Self::default();
            return true;
        }
        false
    }

    /// Adds the newest point. Points of later steps are dropped: the training went back to a checkpoint.
    pub fn add(&mut self, point: CurvePoint) {
        match point {
            CurvePoint::Step(new) => {
                self.steps.truncate(self.steps.partition_point(|point| point.step < new.step));
                self.validations.truncate(self.validations.partition_point(|point| point.step < new.step));
                self.steps.push(new);
            }
            CurvePoint::Validation(new) => {
                self.steps.truncate(self.steps.partition_point(|point| point.step <= new.step));
                self.validations.truncate(self.validations.partition_point(|point| point.step < new.step));
                self.validations.push(new);
            }
        }
    }

    /// The curve with at most `most` steps and as many validations, at least one of each. Neighbours become one point
    /// with their mean loss and gradient norm, and the step and learning rate of the last of them.
    #[must_use]
    pub fn thinned(&self, most: usize) -> Self {
        Self {
            steps: runs(&self.steps, most).filter_map(mean_step).collect(),
            validations: runs(&self.validations, most).filter_map(mean_validation).collect(),
        }
    }
}

fn runs<T>(points: &[T], most: usize) -> std::slice::Chunks<'_, T> {
    points.chunks(points.len().div_ceil(most.max(1)).max(1))
}

fn mean_step(run: &[StepPoint]) -> Option<StepPoint> {
    let last = run.last()?;
    let (loss, grad_norm) = (mean(run, |point| point.loss), mean(run, |point| point.grad_norm));
    Some(StepPoint { loss, grad_norm, ..*last })
}

fn mean_validation(run: &[ValidationPoint]) -> Option<ValidationPoint> {
    let last = run.last()?;
    Some(ValidationPoint { step: last.step, validation_loss: mean(run, |point| point.validation_loss) })
}

#[expect(clippy::cast_precision_loss, reason = "counts of points are far below 2^53")]
fn mean<T>(run: &[T], value: impl Fn(&T) -> f64) -> f64 {
    run.iter().map(value).sum::<f64>() / run.len() as f64
}
