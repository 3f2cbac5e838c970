//! Which rows belong to which step.

use clara_lifecycle::spec::TrainingOptions;

use crate::collate::Rows;

/// Steps and rows of a training. A step never spans two epochs; the last one of an epoch may have fewer rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Steps in all.
    pub(super) total_steps: u64,
    steps_per_epoch: u64,
    accumulation: u64,
}

impl Plan {
    pub(super) fn new(options: &TrainingOptions, rows: usize) -> Self {
        let accumulation = u64::from(options.accumulation.max(1));
        let steps_per_epoch = (rows as u64).div_ceil(accumulation).max(1);
        let all = steps_per_epoch * u64::from(options.epochs);
        let total_steps = if options.max_steps == 0 { all } else { all.min(u64::from(options.max_steps)) };
        Self { total_steps, steps_per_epoch, accumulation }
    }

    /// Complete epochs, and rows done of the next one, after `steps` steps.
    pub(super) fn position(&self, steps: u64) -> (u64, u64) {
        (steps / self.steps_per_epoch, steps % self.steps_per_epoch * self.accumulation)
    }

    /// Passes over the rows, the last one perhaps in part.
    #[expect(clippy::cast_precision_loss, reason = "step counts are far below 2^53")]
    pub(super) fn epochs(&self) -> f64 {
        self.total_steps as f64 / self.steps_per_epoch as f64
    }

    /// Validations with one after every `every` steps: before, between and after.
    pub(super) fn validations(&self, every: u32) -> u64 {
        2 + self.total_steps.saturating_sub(1).checked_div(u64::from(every)).unwrap_or_default()
    }

    /// The rows of a step, counted from 0.
    pub(super) fn rows_of(&self, step: u64, rows: &Rows) -> Vec<usize> {
        let (epoch, row) = self.position(step);
        let skipped = usize::try_from(row).unwrap_or(usize::MAX);
        let taken = usize::try_from(self.accumulation).unwrap_or(usize::MAX);
        rows.order(epoch).into_iter().skip(skipped).take(taken).collect()
    }
}
