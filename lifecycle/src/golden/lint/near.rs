//! Prompts that ask nearly the same: trigrams of characters, numbers apart.

use std::collections::BTreeSet;

use super::super::GoldenSample;
use crate::text::{fold, words};

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
            (share >= LIMIT && !asked_now.same_words(other)).then_some((index, first, share))
        };
        found.extend(earlier.find_map(like));
    }
    found
}

#[derive(Debug)]
struct Asked {
    numbers: BTreeSet<String>,
    words: Vec<String>,
    trigrams: BTreeSet<[char; 3]>,
}

impl Asked {
    fn of(sample: &GoldenSample) -> Self {
        let text = format!("{}\n{}", sample.prompt, sample.context.as_deref().unwrap_or_default());
        let words: Vec<String> = words(&fold(&text)).map(str::to_owned).collect();
        let numbers = words.iter().filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let letters: Vec<char> = format!(" {} ", words.join(" ")).chars().collect();
        let trigrams = letters.windows(3).filter_map(|window| <[char; 3]>::try_from(window).ok());
        Self { numbers: numbers.cloned().collect(), trigrams: trigrams.collect(), words }
    }

    /// Share of the trigrams of both that are common; 0 when their numbers differ.
    #[expect(clippy::cast_precision_loss, reason = "a prompt has far fewer than 2^53 trigrams")]
    fn likeness(&self, other: &Self) -> f64 {
        let (fewer, more) =
            (self.trigrams.len().min(other.trigrams.len()), self.trigrams.len().max(other.trigrams.len()));
        // No intersection can lift the share above the ratio of the sizes.
        if self.numbers != other.numbers || (fewer as f64) < LIMIT * more as f64 {
            return 0.0;
        }
        let common = self.trigrams.intersection(&other.trigrams).count();
        let all = self.trigrams.len() + other.trigrams.len() - common;
        if all == 0 { 0.0 } else { common as f64 / all as f64 }
    }

    fn same_words(&self, other: &Self) -> bool {
        self.words == other.words
    }
}
