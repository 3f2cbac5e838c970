//! Measures how much of a text repeats what stands in it already.
//!
//! Source: the repetition filters of Gopher, Rae et al., arXiv 2112.11446, table A1.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use clara_lifecycle::dataset::TrainingContent;

use crate::{
    hashing::{Hashed, hash_bytes, windows},
    share::share,
    words::Words,
};

/// A shorter text, in words, has no repetition worth the name.
const LEAST_WORDS: usize = 20;
/// Words of the phrases whose later occurrences count.
const PHRASE_WORDS: usize = 5;
/// Words of the phrases of which the most frequent one counts.
const FREQUENT_WORDS: [usize; 3] = [2, 3, 4];

/// The greatest of the shares and what it is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Repetition {
    /// Share (0–1) of the text.
    pub(crate) share: f64,
    /// What repeats, for people.
    pub(crate) what: &'static str,
}

/// Measures repetition; keeps its room from document to document.
#[derive(Debug, Default)]
pub(crate) struct RepetitionMeter {
    lines: HashSet<u64, Hashed>,
    paragraphs: HashSet<u64, Hashed>,
    phrases: HashSet<u64, Hashed>,
    frequent: HashMap<u64, (u64, u64), Hashed>,
    bytes: Vec<u64>,
}

impl RepetitionMeter {
    /// The greatest share of a document that repetitions make, by bytes.
    ///
    /// * Lines and paragraphs that occurred before.
    /// * Words within 5-grams that occurred before; those of longer n-grams are among them.
    /// * Occurrences of the most frequent 2-, 3- and 4-gram, from the third on.
    pub(crate) fn measure(&mut self, content: &TrainingContent, words: &Words) -> Repetition {
        let mut greatest = Repetition { share: 0.0, what: "nothing" };
        if words.hashes().len() < LEAST_WORDS {
            return greatest;
        }
        let (lines, paragraphs) = self.lines(content);
        let phrases = self.phrases(words);
        let frequent = self.frequent(words);
        let found =
            [(lines, "lines"), (paragraphs, "paragraphs"), (phrases, "5-grams"), (frequent, "one phrase")];
        for (share, what) in found {
            if share > greatest.share {
                greatest = Repetition { share, what };
            }
        }
        greatest
    }

    fn lines(&mut self, content: &TrainingContent) -> (f64, f64) {
        self.lines.clear();
        self.paragraphs.clear();
        let (mut all, mut lines, mut paragraphs) = (0, 0, 0);
        for text in content.texts() {
            for paragraph in text.split("\n\n") {
                let mut is_known = true;
                let mut bytes = 0;
                let mut hash = 0;
                for line in paragraph.lines().map(str::trim).filter(|line| !line.is_empty()) {
                    let line_hash = hash_bytes(line.as_bytes());
                    let is_new = self.lines.insert(line_hash);
                    lines += if is_new { 0 } else { line.len() as u64 };
                    is_known &= !is_new;
                    bytes += line.len() as u64;
                    hash = crate::hashing::mix(hash ^ line_hash);
                }
                // A new line makes a new paragraph, so that only the others are compared.
                let is_again = bytes > 0 && !self.paragraphs.insert(hash) && is_known;
                paragraphs += if is_again { bytes } else { 0 };
                all += bytes;
            }
        }
        (share(lines, all), share(paragraphs, all))
    }

    fn phrases(&mut self, words: &Words) -> f64 {
        self.phrases.clear();
        let (mut repeated, mut all, mut start) = (0, 0, 0);
        for text in words.texts() {
            self.bytes.clear();
            self.bytes.extend((start..start + text.len()).map(|word| words.word_bytes(word)));
            all += self.bytes.iter().sum::<u64>();
            let (mut at, mut counted) = (0, 0);
            windows(text, PHRASE_WORDS, |phrase| {
                if !self.phrases.insert(phrase) {
                    // Windows overlap; each word counts once.
                    let new = self.bytes.get(counted.max(at)..at + PHRASE_WORDS).unwrap_or_default();
                    repeated += new.iter().sum::<u64>();
                    counted = at + PHRASE_WORDS;
                }
                at += 1;
            });
            start += text.len();
        }
        share(repeated, all)
    }

    fn frequent(&mut self, words: &Words) -> f64 {
        let all: u64 = (0..words.hashes().len()).map(|word| words.word_bytes(word)).sum();
        let mut greatest = 0;
        for length in FREQUENT_WORDS {
            self.frequent.clear();
            let mut start = 0;
            for text in words.texts() {
                let mut at = start;
                windows(text, length, |phrase| {
                    let (count, _) = self
                        .frequent
                        .entry(phrase)
                        .or_insert_with(|| (0, (at..at + length).map(|word| words.word_bytes(word)).sum()));
                    *count += 1;
                    at += 1;
                });
                start += text.len();
            }
            let repeated = self.frequent.values().map(|(count, bytes)| count.saturating_sub(2) * bytes).max();
            greatest = greatest.max(repeated.unwrap_or_default());
        }
        // Occurrences that overlap, as of `ja ja ja`, count more than once.
        share(greatest.min(all), all)
    }
}
