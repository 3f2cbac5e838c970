//! How fast a training is, by its newest steps.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::StepRecord;

/// So many of the newest steps count: enough to even out rows of different lengths, few enough to follow a machine that
/// slows down.
const STEPS: usize = 20;

/// Speed over the newest steps of this attempt.
#[derive(Debug, Clone, Default)]
pub struct Speed {
    /// Tokens and seconds of each.
    newest: VecDeque<(u64, f64)>,
}

impl Speed {
    /// Counts a step.
    pub fn add(&mut self, record: &StepRecord) {
        self.newest.push_back((record.tokens, record.seconds));
        if self.newest.len() > STEPS {
            self.newest.pop_front();
        }
    }

    /// Tokens passed through the model per second of these steps; 0 before the first.
    #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^53")]
    pub fn tokens_per_second(&self) -> f64 {
        let tokens: u64 = self.newest.iter().map(|(tokens, _)| tokens).sum();
        tokens as f64 / self.seconds().max(f64::MIN_POSITIVE)
    }

    /// Seconds that so many more steps take; validations and checkpoints come on top. 0 before the first step.
    #[expect(clippy::cast_precision_loss, reason = "step counts are far below 2^53")]
    pub fn seconds_left(&self, steps: u64) -> f64 {
        steps as f64 * self.seconds() / self.newest.len().max(1) as f64
    }

    fn seconds(&self) -> f64 {
        self.newest.iter().map(|(_, seconds)| seconds).sum()
    }
}
