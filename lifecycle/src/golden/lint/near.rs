//! Prompts that ask nearly the same: trigrams of characters, numbers apart.

use std::collections::BTreeSet;

use super::super::GoldenSample;
use crate::text::{collapse, fold, jaccard, words};

/// Share of common trigrams (Jaccard, 0–1) from which on two prompts count as nearly the same.
const LIMIT: f64 = 0.8;

/// For each sample the first earlier one that asks nearly the same, with the share of common trigrams.
///
/// Samples with other numbers (`§ 34`, `§ 35`) or another context are different questions, however alike they are.
pub(super) fn near_duplicates(samples: &[GoldenSample]) -> Vec<(usize, usize, f64)> {
    let asked: Vec<Asked> = samples.iter().map(Asked::of).collect();
    let mut found = Vec::new();
    for (index, asked_now) in asked.iter().enumerate() {
        let mut earlier = asked.iter().take(index).enumerate();
        let like = |(first, other): (usize, &Asked)| {
            let share = asked_now.likeness(other);
            (share >= LIMIT && asked_now.spelled != other.spelled).then_some((index, first, share))
        };
        found.extend(earlier.find_map(like));
    }
    found
}

#[derive(Debug)]
struct Asked {
    numbers: BTreeSet<String>,
    /// What the check for equal prompts compares; it reports those.
    spelled: String,
    /// Packed into numbers, sorted.
    trigrams: Vec<u64>,
}

impl Asked {
    fn of(sample: &GoldenSample) -> Self {
        let text = format!("{}\n{}", sample.prompt, sample.context.as_deref().unwrap_or_default());
        let words: Vec<String> = words(&fold(&text)).map(str::to_owned).collect();
        let numbers = words.iter().filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let letters: Vec<char> = format!(" {} ", words.join(" ")).chars().collect();
        let mut trigrams: Vec<u64> = letters.windows(3).map(packed).collect();
        trigrams.sort_unstable();
        trigrams.dedup();
        Self { numbers: numbers.cloned().collect(), spelled: collapse(&text), trigrams }
    }

    /// Share of the trigrams of both that are common; 0 when their numbers differ.
    fn likeness(&self, other: &Self) -> f64 {
        if self.numbers == other.numbers { jaccard(&self.trigrams, &other.trigrams, LIMIT) } else { 0.0 }
    }
}

/// Letters in one number; a letter has 21 bits at most.
fn packed(letters: &[char]) -> u64 {
    letters.iter().fold(0, |packed, letter| packed << 21 | u64::from(u32::from(*letter)))
}
