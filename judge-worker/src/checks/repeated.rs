//! Answers that say the same over and over, as a model does that has lost its thread.

use std::collections::BTreeSet;

use clara_lifecycle::{
    score::{CheckCode, CheckFinding},
    text::{fold, words},
};

/// Words per compared sequence.
const SEQUENCE: usize = 4;
/// A shorter answer may repeat itself.
const LEAST_WORDS: usize = 24;
/// Least share of distinct sequences among all; statutes and enumerations stay far above.
const LEAST_DISTINCT: f64 = 0.5;
/// So many equal letters or digits in a row are no word.
const LONGEST_RUN: usize = 20;

/// The finding, when the answer repeats itself.
pub(super) fn repeated(seen: &str) -> Option<CheckFinding> {
    if let Some((letter, count)) = longest_run(seen).filter(|(_, count)| *count >= LONGEST_RUN) {
        return Some(CheckCode::Repeated.hard(format!("`{letter}` stands {count} times in a row")));
    }
    let folded = fold(seen);
    let words: Vec<&str> = words(&folded).collect();
    if words.len() < LEAST_WORDS {
        return None;
    }
    let all = words.windows(SEQUENCE).len();
    let distinct = words.windows(SEQUENCE).collect::<BTreeSet<_>>().len();
    let share = share(distinct, all);
    (share < LEAST_DISTINCT).then(|| {
        CheckCode::Repeated.hard(format!(
            "only {:.0} % of its sequences of {SEQUENCE} words are distinct, expected at least {:.0} %",
            share * 100.0,
            LEAST_DISTINCT * 100.0
        ))
    })
}

/// The letter or digit with the longest run.
fn longest_run(text: &str) -> Option<(char, usize)> {
    let mut longest = None;
    let mut run: Option<(char, usize)> = None;
    for letter in text.chars().filter(|letter| letter.is_alphanumeric() || letter.is_whitespace()) {
        run = match run {
            Some((same, count)) if same == letter => Some((same, count + 1)),
            _ => Some((letter, 1)),
        };
        let counts = run.filter(|(letter, _)| letter.is_alphanumeric());
        if counts.map(|(_, count)| count) > longest.map(|(_, count)| count) {
            longest = counts;
        }
    }
    longest
}

#[expect(clippy::cast_precision_loss, reason = "an answer has far fewer than 2^53 words")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
