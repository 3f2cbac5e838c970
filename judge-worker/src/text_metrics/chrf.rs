//! chrF as `sacrebleu` 2 computes it for one sentence and one reference, 0–1.
//!
//! Source: Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT 2015.

use super::{common, counted, share};

/// Longest character n-gram.
const ORDER: usize = 6;
/// Recall weighs β² times precision, with β = 2.
const FACTOR: f64 = 4.0;

/// Mean precision and recall over the orders that both texts have, as one F measure.
pub(super) fn chrf(answer: &str, expected: &str) -> f64 {
    let (answer, expected) = (letters(answer), letters(expected));
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for order in 1..=ORDER {
        let (ours, theirs) = (answer.windows(order), expected.windows(order));
        if ours.len() == 0 || theirs.len() == 0 {
            continue;
        }
        let (answers, references) = (ours.len(), theirs.len());
        let common = common(&counted(ours), &counted(theirs));
        precision += share(common, answers);
        recall += share(common, references);
        orders += 1.0;
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / orders, recall / orders);
    (1.0 + FACTOR) * precision * recall / (FACTOR * precision + recall)
}

/// The text without what Python takes for a blank, which is what Unicode does and four separators of ASCII.
fn letters(text: &str) -> Vec<char> {
    let is_blank = |letter: &char| letter.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(letter);
    text.chars().filter(|letter| !is_blank(letter)).collect()
}
