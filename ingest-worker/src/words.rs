//! The words of one document, cut and hashed once for all filters that compare words.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, ops::Range};

use clara_lifecycle::{dataset::TrainingContent, text::fold};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

use crate::hashing::hash_bytes;

/// The folded words of a document (see [`fold`]): runs of letters and digits. Keeps its room from document to document.
#[derive(Debug, Default)]
pub(crate) struct Words {
    folded: String,
    /// End of each word in `folded`.
    ends: Vec<usize>,
    hashes: Vec<u64>,
    /// Number of words before the end of each text.
    text_ends: Vec<usize>,
}

impl Words {
    /// Takes the words of another document in place of those before.
    pub(crate) fn read(&mut self, content: &TrainingContent) {
        self.folded.clear();
        self.ends.clear();
        self.hashes.clear();
        self.text_ends.clear();
        for text in content.texts() {
            self.add(text);
        }
    }

    /// Hashes of all words, those of all texts one after the other.
    pub(crate) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Hashes of the words of each text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &[u64]> {
        self.ranges().map(|range| self.hashes.get(range).unwrap_or_default())
    }

    /// Folded words of each text.
    pub(crate) fn folded_texts(&self) -> impl Iterator<Item = impl Iterator<Item = &str>> {
        self.ranges().map(|range| range.map(|word| self.word(word)))
    }

    /// The folded word of a number, empty beyond the last.
    pub(crate) fn word(&self, number: usize) -> &str {
        self.folded.get(self.place(number)).unwrap_or_default()
    }

    /// Bytes of the folded word of a number.
    pub(crate) fn word_bytes(&self, number: usize) -> u64 {
        self.place(number).len() as u64
    }

    fn place(&self, number: usize) -> Range<usize> {
        let start =
            number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        start..self.ends.get(number).copied().unwrap_or(start)
    }

    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.text_ends.iter().copied());
        starts.zip(self.text_ends.iter().copied()).map(|(start, end)| start..end)
    }

    fn add(&mut self, text: &str) {
        let text = composed(text);
        let mut start = self.folded.len();
        for letter in text.chars() {
            if letter.is_ascii_alphanumeric() {
                self.folded.push(letter.to_ascii_lowercase());
            } else if letter.is_ascii() {
                start = self.end_word(start);
            } else {
                start = self.add_foreign(letter, start);
            }
        }
        self.end_word(start);
        self.text_ends.push(self.hashes.len());
    }

    /// A letter beyond ASCII; its lower case may be several letters, or none that counts.
    fn add_foreign(&mut self, letter: char, mut start: usize) -> usize {
        match letter {
            'ä' | 'Ä' => self.folded.push_str("ae"),
            'ö' | 'Ö' => self.folded.push_str("oe"),
            'ü' | 'Ü' => self.folded.push_str("ue"),
            'ß' | 'ẞ' => self.folded.push_str("ss"),
            other => {
                for lower in other.to_lowercase() {
                    if lower.is_alphanumeric() {
                        self.folded.push(lower);
                    } else {
                        start = self.end_word(start);
                    }
                }
            }
        }
        start
    }

    fn end_word(&mut self, start: usize) -> usize {
        let end = self.folded.len();
        if let Some(word) = self.folded.get(start..end).filter(|word| !word.is_empty()) {
            self.hashes.push(hash_bytes(word.as_bytes()));
            self.ends.push(end);
        }
        end
    }
}

/// The hashes of the words of one text, for texts that are compared with many documents.
pub(crate) fn word_hashes(text: &str) -> Vec<u64> {
    clara_lifecycle::text::words(&fold(text)).map(|word| hash_bytes(word.as_bytes())).collect()
}

fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}
