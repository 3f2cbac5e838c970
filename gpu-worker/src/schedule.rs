//! The learning rate over the steps of a training, by the formulas of the transformers library.

use clara_lifecycle::spec::{Schedule, TrainingOptions};

/// Learning rate by step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    peak: f64,
    schedule: Schedule,
    /// Share of the peak below which it does not fall.
    floor: f64,
    warmup_steps: u64,
    /// Steps in which a warm-up–stable–decay schedule falls.
    decay_steps: u64,
    total_steps: u64,
}

impl LearningRate {
    /// The course that `options` ask for over `total_steps`; a fraction of a warm-up step counts as one.
    pub fn new(options: &TrainingOptions, total_steps: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to total_steps")]
        let share = |ratio: f32| (as_written(ratio) * count(total_steps)).ceil() as u64;
        Self {
            peak: as_written(options.learning_rate),
            schedule: options.schedule,
            floor: as_written(options.min_lr_ratio),
            warmup_steps: share(options.warmup_ratio),
            decay_steps: share(options.decay_ratio),
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
            Schedule::Cosine => half_cosine(count(step - self.warmup_steps) / count(falling_steps)),
            Schedule::WarmupStableDecay => {
                let decay_steps = self.decay_steps.min(falling_steps).max(1);
                let fallen = (step + decay_steps).saturating_sub(self.total_steps);
                half_cosine(count(fallen) / count(decay_steps))
            }
        };
        self.peak * (self.floor + (1.0 - self.floor) * share)
    }
}

/// From 1 down to 0 while `progress` goes from 0 to 1.
fn half_cosine(progress: f64) -> f64 {
    (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
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
