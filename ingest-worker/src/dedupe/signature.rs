//! `MinHash` signatures: short summaries of texts from which their similarity can be told.
//!
//! Sources: Broder, "On the resemblance and containment of documents", 1997; Li and König, "b-Bit minwise hashing", WWW 2010.

#[cfg(test)]
mod tests;

use std::array;

use clara_lifecycle::dataset::TrainingContent;
use sha2::{Digest as _, Sha256};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

use crate::{
    hashing::{hash_bytes, mix, sequence, windows},
    share::share,
    words::Words,
};

/// Numbers in a signature.
pub(crate) const PERMUTATIONS: usize = 128;
/// Words of the phrases that are compared.
pub(crate) const SHINGLE_WORDS: usize = 5;
/// Texts are told apart by so much of their SHA-256.
pub(crate) const TEXT_BYTES: usize = 16;

/// What is kept of a document: the digest of its normal form and the last byte of each of its 128 least hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) text: [u8; TEXT_BYTES],
    pub(crate) least: [u8; PERMUTATIONS],
}

/// Makes signatures; keeps its room from document to document.
#[derive(Debug)]
pub(crate) struct Signer {
    factors: [u32; PERMUTATIONS],
    offsets: [u32; PERMUTATIONS],
    shingles: Vec<u32>,
}

impl Signer {
    pub(crate) fn new() -> Self {
        // Fixed, since signatures of earlier datasets are compared with.
        let number = |index: usize, kind: u64| high(mix(index as u64 * 2 + kind));
        Self {
            factors: array::from_fn(|index| number(index, 0) | 1),
            offsets: array::from_fn(|index| number(index, 1)),
            shingles: Vec::new(),
        }
    }

    /// The signature of a document with these words; its distinct shingles stay until the next, see [`Signer::shingles`].
    ///
    /// Turns of the system are left out: conversations that share a long one are not nearly the same.
    pub(crate) fn sign(
        &mut self,
        text: [u8; TEXT_BYTES],
        content: &TrainingContent,
        words: &Words,
    ) -> Signature {
        self.shingles.clear();
        for (index, hashes) in words.texts().enumerate() {
            if hashes.is_empty() || is_system(content, index) {
                continue;
            }
            if hashes.len() < SHINGLE_WORDS {
                self.shingles.push(high(sequence(hashes)));
            }
            windows(hashes, SHINGLE_WORDS, |shingle| self.shingles.push(high(shingle)));
        }
        self.shingles.sort_unstable();
        self.shingles.dedup();
        let mut least = [u32::MAX; PERMUTATIONS];
        for shingle in &self.shingles {
            for ((least, factor), offset) in least.iter_mut().zip(&self.factors).zip(&self.offsets) {
                *least = (*least).min(shingle.wrapping_mul(*factor).wrapping_add(*offset));
            }
        }
        // Low bits of a product are not random; the mixed ones are.
        #[expect(clippy::cast_possible_truncation, reason = "one byte of the mixed number is wanted")]
        let least = least.map(|number| mix(u64::from(number)) as u8);
        Signature { text, least }
    }

    /// The distinct shingles of the last document, sorted.
    pub(crate) fn shingles(&self) -> &[u32] {
        &self.shingles
    }
}

impl Signature {
    /// The estimated similarity (0–1, Jaccard of the shingles); its standard error is at most 0.045.
    pub(crate) fn similarity(&self, other: &[u8; PERMUTATIONS]) -> f64 {
        let equal = self.least.iter().zip(other).filter(|(one, other)| one == other).count();
        // One of 256 bytes is equal by chance.
        let by_chance = 1.0 / 256.0;
        #[expect(clippy::cast_precision_loss, reason = "128 at most")]
        let share = equal as f64 / PERMUTATIONS as f64;
        ((share - by_chance) / (1.0 - by_chance)).max(0.0)
    }
}

/// The key of each band of `rows` numbers; documents that share one are compared.
pub(crate) fn band_keys(least: &[u8; PERMUTATIONS], rows: usize) -> impl Iterator<Item = u64> {
    (0_u64..).zip(least.chunks_exact(rows.max(1))).map(|(band, rows)| mix(hash_bytes(rows) ^ band))
}

/// How many numbers make a band, and how many bands are used, so that two documents as similar as `limit` share a band with a
/// probability of at least 0.97.
pub(crate) fn bands(limit: f64) -> (usize, usize) {
    const LEAST_RECALL: f64 = 0.97;
    let misses = |rows: usize, bands: usize| power(1.0 - power(limit, rows), bands);
    let rows = (1..=PERMUTATIONS)
        .rev()
        .find(|rows| 1.0 - misses(*rows, PERMUTATIONS / rows) >= LEAST_RECALL)
        .unwrap_or(1);
    let most = PERMUTATIONS / rows;
    let bands = (1..=most).find(|bands| 1.0 - misses(rows, *bands) >= LEAST_RECALL).unwrap_or(most);
    (rows, bands)
}

/// The similarity (0–1, Jaccard) of two sorted lists without repeats.
pub(crate) fn jaccard(one: &[u32], other: &[u32]) -> f64 {
    let (mut common, mut at) = (0_u64, 0);
    for number in one {
        while other.get(at).is_some_and(|other| other < number) {
            at += 1;
        }
        common += u64::from(other.get(at) == Some(number));
    }
    share(common, one.len() as u64 + other.len() as u64 - common)
}

/// The start of the SHA-256 of texts whose blanks, case and Unicode form do not matter.
pub(crate) fn text_digest(content: &TrainingContent) -> [u8; TEXT_BYTES] {
    let mut hasher = Sha256::new();
    let mut form = String::new();
    for text in content.texts() {
        form.clear();
        if is_nfc_quick(text.chars()) == IsNormalized::Yes {
            collapse_into(&mut form, text.chars());
        } else {
            collapse_into(&mut form, text.nfc());
        }
        // The length keeps texts apart that only differ in where a prompt ends.
        hasher.update((form.len() as u64).to_le_bytes());
        hasher.update(form.as_bytes());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    array::from_fn(|index| digest.get(index).copied().unwrap_or_default())
}

/// Adds composed letters in lower case, each run of blanks as one space, none at the ends.
fn collapse_into(form: &mut String, letters: impl Iterator<Item = char>) {
    let mut is_after_blank = false;
    for letter in letters {
        if letter.is_whitespace() {
            is_after_blank = true;
            continue;
        }
        if is_after_blank && !form.is_empty() {
            form.push(' ');
        }
        is_after_blank = false;
        if letter.is_ascii() {
            form.push(letter.to_ascii_lowercase());
        } else {
            form.extend(letter.to_lowercase());
        }
    }
}

fn is_system(content: &TrainingContent, index: usize) -> bool {
    let TrainingContent::Chat { messages } = content else { return false };
    messages.get(index).is_some_and(|message| message.role == "system")
}

fn high(number: u64) -> u32 {
    (number >> 32) as u32
}

fn power(base: f64, exponent: usize) -> f64 {
    (0..exponent).fold(1.0, |product, _| product * base)
}
