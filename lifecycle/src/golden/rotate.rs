//! Rotation: the next version holds other samples back, so that no family of adapters can settle on the questions.

use super::{Difficulty, GoldenDataset, GoldenSample};
use crate::statistics::SplitMix64;

impl GoldenDataset {
    /// The next minor version with about `share` (0–1) of the samples held out: as many of each difficulty as its
    /// part asks for, drawn by `seed` from those that were asked, and only then from those that were held out before.
    /// At least one sample stays asked.
    #[must_use]
    pub fn rotated(&self, share: f64, seed: u64) -> Self {
        let mut next = self.clone();
        next.version = semver::Version::new(self.version.major, self.version.minor + 1, 0);
        let mut order = drawn(&self.samples, seed);
        // Asked samples first; the draw decides within both halves.
        order.sort_by_key(|index| self.samples.get(*index).is_some_and(|sample| sample.held_out));
        let wanted = part(share, self.samples.len()).min(self.samples.len().saturating_sub(1));
        let held_out = of_each_difficulty(&self.samples, &order, share, wanted);
        for (index, sample) in next.samples.iter_mut().enumerate() {
            sample.held_out = held_out.contains(&index);
        }
        next
    }
}

/// All positions in an order that `seed` draws (Fisher and Yates).
fn drawn(samples: &[GoldenSample], seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..samples.len()).collect();
    let mut random = SplitMix64::new(seed);
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last + 1));
    }
    order
}

/// The first of `order` in each difficulty, then the first of the others until there are `wanted`.
fn of_each_difficulty(samples: &[GoldenSample], order: &[usize], share: f64, wanted: usize) -> Vec<usize> {
    let mut chosen = Vec::new();
    for difficulty in Difficulty::ALL {
        let has_it =
            |index: &&usize| samples.get(**index).is_some_and(|sample| sample.difficulty == difficulty);
        let all = order.iter().filter(has_it).count();
        chosen.extend(order.iter().filter(has_it).take(part_below(share, all)));
    }
    let others: Vec<usize> = order.iter().copied().filter(|index| !chosen.contains(index)).collect();
    chosen.extend(others);
    chosen.truncate(wanted);
    chosen
}

/// `share` of `whole`, rounded to the nearest count.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the share is clamped to 0–1 and counts of samples stay far below 2^53"
)]
fn part(share: f64, whole: usize) -> usize {
    (share.clamp(0.0, 1.0) * whole as f64).round() as usize
}

/// `share` of `whole`, rounded down.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the share is clamped to 0–1 and counts of samples stay far below 2^53"
)]
fn part_below(share: f64, whole: usize) -> usize {
    (share.clamp(0.0, 1.0) * whole as f64).floor() as usize
}
