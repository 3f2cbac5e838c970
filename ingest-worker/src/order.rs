//! Orders training records: shuffled by a seed, or simple ones first. Keeps two numbers per record.

#[cfg(test)]
mod tests;

use clara_lifecycle::{
    dataset::TrainingContent,
    spec::RecordOrder,
    text::{fold, words},
};

use crate::hashing::{draw, hash_bytes};

/// Words are counted in so many slots; two of one slot count as one word, so that memory does not grow with the vocabulary.
const SLOTS: usize = 1 << 20;
/// A word's surprisal is kept in this part of a bit, as a whole number: sums are then the same on every machine.
const PARTS_OF_A_BIT: f64 = 1024.0;

/// Where each record stands in the new order, lowest first.
#[derive(Debug)]
pub(crate) enum Order {
    /// As they come.
    Source,
    /// By a number drawn for each record.
    Shuffle(u64),
    /// By difficulty.
    Curriculum(WordCounts),
}

/// How often words occur in the records of a dataset.
#[derive(Debug)]
pub(crate) struct WordCounts {
    slots: Vec<u32>,
    total: u64,
}

impl Order {
    /// The order that is asked for; a curriculum must see all records by [`Order::count`] first.
    pub(crate) fn new(order: RecordOrder, seed: u64) -> Self {
        match order {
            RecordOrder::Source => Self::Source,
            RecordOrder::Shuffle => Self::Shuffle(seed),
            RecordOrder::Curriculum => Self::Curriculum(WordCounts { slots: vec![0; SLOTS], total: 0 }),
        }
    }

    /// Whether all records must be counted before any has a key.
    pub(crate) fn counts(&self) -> bool {
        matches!(self, Self::Curriculum(_))
    }

    /// Counts the words of a record.
    pub(crate) fn count(&mut self, content: &TrainingContent) {
        if let Self::Curriculum(counts) = self {
            for_each_slot(content, |slot| {
                if let Some(count) = counts.slots.get_mut(slot) {
                    *count = count.saturating_add(1);
                }
                counts.total += 1;
            });
        }
    }

    /// The record's key; `number` counts the records. `None` where they stay as they come.
    pub(crate) fn key(&self, number: u64, content: impl FnOnce() -> Option<TrainingContent>) -> Option<u64> {
        match self {
            Self::Source => None,
            Self::Shuffle(seed) => Some(draw(*seed, number)),
            Self::Curriculum(counts) => {
                Some(content().map_or(u64::MAX, |content| counts.difficulty(&content)))
            }
        }
    }
}

impl WordCounts {
    /// The sum of the surprisal of all words: longer records and rarer words are harder.
    /// Source: word rarity of Platanios et al., arXiv 1903.09848, section 3.2.
    fn difficulty(&self, content: &TrainingContent) -> u64 {
        let mut sum = 0;
        for_each_slot(content, |slot| {
            let count = self.slots.get(slot).copied().unwrap_or_default();
            sum += surprisal(count, self.total);
        });
        sum
    }
}

/// `−log2(count / total)` in parts of a bit.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts stay far below 2^53, and the logarithm of a share is neither negative nor great"
)]
fn surprisal(count: u32, total: u64) -> u64 {
    let share = f64::from(count.max(1)) / total.max(1) as f64;
    (-share.log2() * PARTS_OF_A_BIT).round().max(0.0) as u64
}

fn for_each_slot(content: &TrainingContent, mut take: impl FnMut(usize)) {
    for text in content.texts() {
        for word in words(&fold(text)) {
            let slot = usize::try_from(hash_bytes(word.as_bytes()) % SLOTS as u64).unwrap_or_default();
            take(slot);
        }
    }
}
