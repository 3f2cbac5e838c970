//! What is remembered of all records while they pass, in constant memory: lengths, kinds, a few samples.

use std::collections::BTreeMap;

use clara_lifecycle::dataset::{TrainingContent, TrainingRecord};

/// Samples of a card.
const SAMPLES: usize = 10;
/// Upper ends of the ranges that lengths are counted in, in characters, exclusive; one more range has no end.
const BOUNDS: [usize; 12] = [50, 100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000];

/// How long records are, in characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lengths {
    counts: [u64; BOUNDS.len() + 1],
    chars: u64,
    longest: usize,
}

/// What is remembered of records.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeenRecords {
    pub(crate) lengths: Lengths,
    texts: u64,
    completions: u64,
    conversations: u64,
    /// Those whose ids have the least hashes.
    samples: BTreeMap<(u64, String), TrainingRecord>,
}

impl Lengths {
    /// Counts a record of `chars` characters.
    pub fn add(&mut self, chars: usize) {
        let range = BOUNDS.iter().position(|bound| chars < *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get_mut(range) {
            *count += 1;
        }
        self.chars += chars as u64;
        self.longest = self.longest.max(chars);
    }

    /// All characters.
    pub fn chars(&self) -> u64 {
        self.chars
    }

    /// The longest record.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The ranges that hold records or lie between such, with their counts.
    pub fn rows(&self) -> Vec<(String, u64)> {
        let mut rows = Vec::new();
        let mut from = 0;
        for (range, count) in self.counts.iter().enumerate() {
            let bound = BOUNDS.get(range);
            let name = match bound {
                Some(bound) => format!("{from} to {}", bound - 1),
                None => format!("{from} and more"),
            };
            rows.push((name, *count));
            from = bound.copied().unwrap_or(from);
        }
        let first = rows.iter().position(|(_, count)| *count > 0).unwrap_or(0);
        let last = rows.iter().rposition(|(_, count)| *count > 0).unwrap_or(0);
        rows.into_iter().take(last + 1).skip(first).collect()
    }

    /// Mean and longest, in words.
    pub(crate) fn summary(&self) -> String {
        let records = self.counts.iter().sum::<u64>();
        format!("{} per record on average, {} in the longest", self.chars / records.max(1), self.longest)
    }
}

impl SeenRecords {
    /// Remembers a record.
    pub(crate) fn see(&mut self, record: &TrainingRecord) {
        self.lengths.add(record.content.chars());
        match &record.content {
            TrainingContent::Text { .. } => self.texts += 1,
            TrainingContent::PromptCompletion { .. } => self.completions += 1,
            TrainingContent::Chat { .. } => self.conversations += 1,
        }
        let hash = lot(&record.document_id);
        let is_chosen = self.samples.len() < SAMPLES
            || self.samples.last_key_value().is_some_and(|((largest, _), _)| hash < *largest);
        if is_chosen {
            self.samples.insert((hash, record.document_id.clone()), record.clone());
            if self.samples.len() > SAMPLES {
                self.samples.pop_last();
            }
        }
    }

    /// A few records that depend on all ids and on nothing else.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &TrainingRecord> {
        self.samples.values()
    }

    /// What the records are, in words.
    pub(crate) fn kinds(&self) -> String {
        let kinds = [
            (self.texts, "running text"),
            (self.completions, "prompt and completion"),
            (self.conversations, "conversation"),
        ];
        let kinds = kinds.into_iter().filter(|(count, _)| *count > 0);
        kinds.map(|(count, kind)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
    }
}

/// A number that follows from the text as if drawn by lot, the same one in every build: FNV-1a, then the last step of
/// `MurmurHash3`, since FNV alone gives near texts near numbers.
pub fn lot(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}
