//! Finds passages that say the same as a golden answer in other order or with a few other words.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::Overlap;
use crate::{
    hashing::{Hashed, hash_bytes},
    ingest::GoldenText,
    share::share,
    stop_words::StopWords,
    words::Words,
};

/// Answers with fewer content words say too little to be told from other texts of their subject.
const LEAST_CONTENT_WORDS: u64 = 8;
/// A passage may be a quarter longer than the answer.
const SLACK: u64 = 4;

/// The answers of golden samples as bags of content words: function words are left out, endings are cut.
#[derive(Debug)]
pub(crate) struct AnswerCheck {
    limit: f64,
    stop_words: StopWords,
    answers: Vec<Answer>,
    /// Content word → the answers that hold it, and how often.
    holders: HashMap<u64, Vec<(usize, u64)>, Hashed>,
    /// Content words of each text of the document, and how often a word of an answer occurs in the document.
    texts: Vec<Vec<u64>>,
    shared: Vec<u64>,
}

#[derive(Debug)]
struct Answer {
    sample_id: String,
    counts: HashMap<u64, u64, Hashed>,
    words: u64,
}

impl AnswerCheck {
    /// A check that finds passages as similar as `limit`; at 1 it finds none.
    pub(crate) fn new(samples: &[GoldenText], limit: f64) -> Self {
        let mut check = Self {
            limit,
            stop_words: StopWords::new(),
            answers: Vec::new(),
            holders: HashMap::default(),
            texts: Vec::new(),
            shared: Vec::new(),
        };
        for sample in samples.iter().filter(|_| limit < 1.0) {
            check.add(sample);
        }
        check
    }

    /// The sample whose answer is most similar to a passage of the document, when it is as similar as the limit.
    ///
    /// The similarity is the share (0–1) of the answer's content words that stand together in a passage at most a quarter longer than
    /// the answer, in whatever order; a word that occurs twice in the answer must occur twice in the passage.
    pub(crate) fn find(&mut self, words: &Words) -> Option<Overlap> {
        if self.answers.is_empty() {
            return None;
        }
        self.read(words);
        let mut greatest: Option<Overlap> = None;
        for (answer, shared) in self.answers.iter().zip(&self.shared) {
            // No passage holds more of an answer than the whole document does.
            if share(*shared, answer.words) < self.limit {
                continue;
            }
            let most = self.texts.iter().map(|text| answer.most_in_passage(text)).max().unwrap_or_default();
            let similarity = share(most, answer.words);
            if similarity >= self.limit
                && greatest.as_ref().is_none_or(|greatest| similarity > greatest.share)
            {
                greatest = Some(Overlap { sample_id: answer.sample_id.clone(), share: similarity });
            }
        }
        greatest
    }

    fn add(&mut self, sample: &GoldenText) {
        let mut words = Words::default();
        words.read(&clara_lifecycle::dataset::TrainingContent::Text { text: sample.expected_output.clone() });
        let mut counts: HashMap<u64, u64, Hashed> = HashMap::default();
        for word in words.folded_texts().flatten().filter_map(|word| content_word(word, &self.stop_words)) {
            *counts.entry(word).or_default() += 1;
        }
        let words = counts.values().sum();
        if words < LEAST_CONTENT_WORDS {
            return;
        }
        for (word, count) in &counts {
            self.holders.entry(*word).or_default().push((self.answers.len(), *count));
        }
        self.answers.push(Answer { sample_id: sample.sample_id.clone(), counts, words });
    }

    /// Takes the content words of a document, and counts for each answer how many of its words they hold.
    fn read(&mut self, words: &Words) {
        self.texts.clear();
        self.shared.clear();
        self.shared.resize(self.answers.len(), 0);
        for text in words.folded_texts() {
            self.texts.push(text.filter_map(|word| content_word(word, &self.stop_words)).collect());
        }
        let mut distinct: Vec<u64> = self.texts.iter().flatten().copied().collect();
        distinct.sort_unstable();
        distinct.dedup();
        for (answer, count) in distinct.iter().filter_map(|word| self.holders.get(word)).flatten() {
            if let Some(shared) = self.shared.get_mut(*answer) {
                *shared += count;
            }
        }
    }
}

impl Answer {
    /// Most of the answer's words within a passage of the text.
    fn most_in_passage(&self, text: &[u64]) -> u64 {
        let length = usize::try_from(self.words + self.words / SLACK).unwrap_or(usize::MAX);
        let mut held: HashMap<u64, u64, Hashed> = HashMap::default();
        let (mut matched, mut most) = (0, 0);
        for (index, entering) in text.iter().enumerate() {
            if let Some(needed) = self.counts.get(entering) {
                let count = held.entry(*entering).or_default();
                *count += 1;
                matched += u64::from(*count <= *needed);
            }
            let leaving = index.checked_sub(length).and_then(|index| text.get(index));
            if let Some((leaving, needed)) = leaving.and_then(|word| Some((word, self.counts.get(word)?))) {
                let count = held.entry(*leaving).or_default();
                matched -= u64::from(*count <= *needed);
                *count -= 1;
            }
            most = most.max(matched);
        }
        most
    }
}

/// The hash of a word without its ending; `None` for function words and single letters.
fn content_word(word: &str, stop_words: &StopWords) -> Option<u64> {
    let is_letter = word.len() < 2 && !word.bytes().all(|byte| byte.is_ascii_digit());
    if is_letter || stop_words.contains(hash_bytes(word.as_bytes())) {
        return None;
    }
    Some(hash_bytes(stem(word).as_bytes()))
}

/// The word without one of the endings of German inflection, when four letters stay: `Antrags` and `Antrag` are one word.
fn stem(word: &str) -> &str {
    const ENDINGS: [&str; 8] = ["ern", "em", "en", "er", "es", "e", "n", "s"];
    let cut = ENDINGS.iter().find_map(|ending| word.strip_suffix(ending).filter(|stem| stem.len() >= 4));
    cut.unwrap_or(word)
}
