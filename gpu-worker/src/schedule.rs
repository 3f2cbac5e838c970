//! The learning rate over the steps of a training, by the formulas of the transformers library.

use clara_lifecycle::spec::{Schedule, TrainingOptions};

/// Learning rate by step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    peak: f64,
    schedule: Schedule,
    warmup_steps: u64,
    total_steps: u64,
}

impl LearningRate {
    /// The course that `options` ask for over `total_steps`; a fraction of a warm-up step counts as one.
    pub fn new(options: &TrainingOptions, total_steps: u64) -> Self {
        let ratio = as_written(options.warmup_ratio);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to total_steps")]
        let warmup_steps = (ratio * count(total_steps)).ceil() as u64;
        Self {
            peak: as_written(options.learning_rate),
            schedule: options.schedule,
            warmup_steps,
            total_steps,
        }
    }

    /// The rate of a step, counted from 0. A warm-up starts at 0.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (count(step) / count(self.warmup_steps.max(1)));
        }
        let falling_steps = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let share = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Linear => count(self.total_steps.saturating_sub(step)) / count(falling_steps),
            Schedule::Cosine => {
                let progress = count(step - self.warmup_steps) / count(falling_steps);
                (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
            }
        };
        self.peak * share
    }
}

/// The number that the user wrote: 2e-4 as f32 is 1.9999999494757503e-4, but 2e-4 was meant.
pub(crate) fn as_written(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

#[expect(clippy::cast_precision_loss, reason = "step counts are far below 2^53")]
fn count(steps: u64) -> f64 {
    steps as f64
}

#[cfg(test)]
mod tests;
