//! Measures how much of a golden sample a document holds, so that no answer is learned by heart.

mod answers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::{
    hashing::{Hashed, sequence, windows},
    ingest::GoldenText,
    share::share,
    words::{Words, word_hashes},
};

pub(crate) use answers::AnswerCheck;

/// A shorter prompt counts only when it is a whole text of the document, and a shorter expected output
/// (`yes`, `§ 35 BauGB`) not at all: such words occur everywhere.
const LEAST_SEQUENCE_WORDS: usize = 4;

/// The n-grams of all golden samples.
#[derive(Debug)]
pub(crate) struct OverlapCheck {
    /// Window length in words → window → the parts that hold it.
    windows: BTreeMap<usize, HashMap<u64, Vec<usize>, Hashed>>,
    parts: Vec<Part>,
    /// Hash of all words of a short prompt → its sample.
    short_prompts: HashMap<u64, String, Hashed>,
    limit: f64,
}

/// A prompt or an expected output.
#[derive(Debug)]
struct Part {
    sample_id: String,
    distinct_windows: usize,
}

/// The sample that a document overlaps with most.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Overlap {
    /// The sample.
    pub(crate) sample_id: String,
    /// Share (0–1) of the n-grams of its prompt or its expected output, whichever is greater.
    pub(crate) share: f64,
}

impl OverlapCheck {
    /// A check for n-grams of `ngram_words` words; parts of a sample shorter than that are looked for as a whole.
    pub(crate) fn new(samples: &[GoldenText], ngram_words: u32, limit: f64) -> Self {
        let ngram_words = usize::try_from(ngram_words).unwrap_or(usize::MAX).max(1);
        let mut check =
            Self { windows: BTreeMap::new(), parts: Vec::new(), short_prompts: HashMap::default(), limit };
        for sample in samples {
            check.add_prompt(sample, ngram_words);
            check.add_part(sample, &word_hashes(&sample.expected_output), ngram_words);
        }
        check
    }

    /// The sample that the document with these words overlaps with most, when that is the limit or more.
    pub(crate) fn find(&self, words: &Words) -> Option<Overlap> {
        let mut greatest: Option<Overlap> = None;
        for overlap in self.find_all(words) {
            if greatest.as_ref().is_none_or(|greatest| overlap.share > greatest.share) {
                greatest = Some(overlap);
            }
        }
        greatest
    }

    /// Every part of a sample that the document overlaps with by the limit or more; prompt and expected output of a
    /// sample are parts of their own.
    pub(crate) fn find_all(&self, words: &Words) -> Vec<Overlap> {
        let mut found: BTreeMap<usize, HashSet<u64, Hashed>> = BTreeMap::new();
        let mut overlaps = Vec::new();
        for hashes in words.texts() {
            if let Some(sample_id) = self.short_prompts.get(&sequence(hashes)) {
                overlaps.push(Overlap { sample_id: sample_id.clone(), share: 1.0 });
            }
            for (length, known) in &self.windows {
                windows(hashes, *length, |window| {
                    for part in known.get(&window).into_iter().flatten() {
                        found.entry(*part).or_default().insert(window);
                    }
                });
            }
        }
        for (part, windows) in found {
            let Some(part) = self.parts.get(part) else { continue };
            let share = share(windows.len() as u64, part.distinct_windows as u64);
            if share >= self.limit {
                overlaps.push(Overlap { sample_id: part.sample_id.clone(), share });
            }
        }
        overlaps
    }

    fn add_prompt(&mut self, sample: &GoldenText, ngram_words: usize) {
        let hashes = word_hashes(&sample.prompt);
        if (1..LEAST_SEQUENCE_WORDS).contains(&hashes.len()) {
            self.short_prompts.entry(sequence(&hashes)).or_insert_with(|| sample.sample_id.clone());
        }
        self.add_part(sample, &hashes, ngram_words);
    }

    fn add_part(&mut self, sample: &GoldenText, hashes: &[u64], ngram_words: usize) {
        if hashes.len() < LEAST_SEQUENCE_WORDS.min(ngram_words) {
            return;
        }
        let length = ngram_words.min(hashes.len());
        let mut distinct = BTreeSet::new();
        windows(hashes, length, |window| {
            distinct.insert(window);
        });
        let part = self.parts.len();
        self.parts.push(Part { sample_id: sample.sample_id.clone(), distinct_windows: distinct.len() });
        let known = self.windows.entry(length).or_default();
        for window in distinct {
            known.entry(window).or_default().push(part);
        }
    }
}
