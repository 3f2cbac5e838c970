//! How near an answer is to the expected output: ROUGE, chrF, token F1 and exact match.

mod chrf;
mod rouge;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use clara_lifecycle::{
    score::TextMetrics,
    text::{fold, words},
};

/// Measures `answer` by `expected`, each figure 0–1.
///
/// ROUGE is that of `rouge-score` 0.1.2 with its own tokeniser and no stemmer; the tokeniser knows the letters a to z
/// and the digits only, so that umlauts part words. chrF is that of `sacrebleu` 2 with its defaults (character n-grams
/// up to 6, β = 2, no words), divided by 100. Token F1 and exact match fold case and umlauts and leave out punctuation.
pub(crate) fn measure(answer: &str, expected: &str) -> TextMetrics {
    let rouge = rouge::Rouge::new(answer, expected);
    let (answer_folded, expected_folded) = (fold(answer), fold(expected));
    let answer_words: Vec<&str> = words(&answer_folded).collect();
    let expected_words: Vec<&str> = words(&expected_folded).collect();
    TextMetrics {
        rouge_1: rouge.ngrams(1),
        rouge_2: rouge.ngrams(2),
        rouge_l: rouge.longest_common_subsequence(),
        chrf: chrf::chrf(answer, expected),
        token_f1: token_f1(&answer_words, &expected_words),
        exact_match: if answer_words == expected_words { 1.0 } else { 0.0 },
    }
}

fn token_f1(answer: &[&str], expected: &[&str]) -> f64 {
    let common = common(&counted(answer.iter()), &counted(expected.iter()));
    f_measure(share(common, answer.len()), share(common, expected.len()))
}

/// How often each item occurs.
fn counted<T: std::hash::Hash + Eq>(items: impl Iterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

/// How many items both bags have in common.
fn common<T: std::hash::Hash + Eq>(one: &HashMap<T, usize>, other: &HashMap<T, usize>) -> usize {
    one.iter().map(|(item, count)| other.get(item).map_or(0, |other| *count.min(other))).sum()
}

/// The harmonic mean of precision and recall.
fn f_measure(precision: f64, recall: f64) -> f64 {
    if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 }
}

/// `part / whole`; 0 when there is no whole.
#[expect(clippy::cast_precision_loss, reason = "counts of tokens and letters stay far below 2^53")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
