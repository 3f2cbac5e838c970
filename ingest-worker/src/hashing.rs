//! Hashes of texts, words and windows of words, and numbers that a seed draws: equal input gives equal numbers on every machine and
//! with every release of Rust, which the standard library's hashes do not.

#[cfg(test)]
mod tests;

use std::hash::{BuildHasherDefault, Hasher};

/// Odd numbers without pattern, from the digits of pi and the golden ratio.
const WORD_KEY: u64 = 0x2436_A88A_85A3_08D3 | 1;
const WINDOW_KEY: u64 = 0x9E37_79B9_7F4A_7C15;

/// Builds hashers for keys that are hashes already.
pub(crate) type Hashed = BuildHasherDefault<AsIs>;

/// A hasher that takes a number as it is.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0 ^ hash_bytes(bytes));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The hash of some bytes, such as a word or an id.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut hash = WINDOW_KEY ^ bytes.len() as u64;
    for chunk in chunks {
        hash = fold(hash ^ u64::from_le_bytes(*chunk), WORD_KEY);
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    fold(hash ^ u64::from_le_bytes(last), WORD_KEY)
}

/// A bijection that spreads every bit over all others (`splitmix64`).
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The number that a seed draws at a place. Places of one seed never draw the same number.
pub(crate) fn draw(seed: u64, place: u64) -> u64 {
    mix(mix(seed ^ WORD_KEY).wrapping_add(place.wrapping_mul(WINDOW_KEY)))
}

/// Passes on the hash of each window of `length` words, in order; the work per window does not depend on `length`.
///
/// Fewer words than `length` have no window.
pub(crate) fn windows(words: &[u64], length: usize, mut take: impl FnMut(u64)) {
    if length == 0 || words.len() < length {
        return;
    }
    let (first, rest) = words.split_at(length);
    let mut sum = first.iter().fold(0_u64, |sum, word| sum.wrapping_mul(WINDOW_KEY).wrapping_add(*word));
    take(mix(sum));
    // The weight of the word that leaves: it was multiplied once for each word after it.
    let weight = (1..length).fold(1_u64, |weight, _| weight.wrapping_mul(WINDOW_KEY));
    for (leaving, entering) in words.iter().zip(rest) {
        sum = sum.wrapping_sub(leaving.wrapping_mul(weight)).wrapping_mul(WINDOW_KEY).wrapping_add(*entering);
        take(mix(sum));
    }
}

/// The hash of all words in order; equals the only window of their length.
pub(crate) fn sequence(words: &[u64]) -> u64 {
    mix(words.iter().fold(0_u64, |sum, word| sum.wrapping_mul(WINDOW_KEY).wrapping_add(*word)))
}

#[expect(clippy::cast_possible_truncation, reason = "both halves of the product are wanted")]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product >> 64) as u64 ^ product as u64
}
