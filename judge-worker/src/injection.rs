//! Finds text that speaks to the judge instead of answering the question.
//!
//! The fence keeps such text harmless as far as a judge obeys; this tells a reviewer of it. It looks for words of two
//! kinds near each other, so that a statute which speaks of orders, rules or points stays what it is.

#[cfg(test)]
mod tests;

use crate::prompt::neutralised;

/// Words further apart than this have nothing to do with each other.
const NEAR: usize = 7;

/// What tells to leave something out, and what would be left out.
const OVERRIDE: [&[&str]; 2] = [
    &[
        "ignore",
        "ignoriere",
        "ignorieren",
        "disregard",
        "forget",
        "vergiss",
        "vergesse",
        "missachte",
        "override",
        "überschreibe",
    ],
    &[
        "instructions",
        "instruction",
        "prompt",
        "rubric",
        "anweisungen",
        "anweisung",
        "instruktionen",
        "rubrik",
        "bewertungsregeln",
        "befehle",
    ],
];
/// What demands a score, and which one. Imperatives and the grader's own words only.
const DEMAND: [&[&str]; 2] = [
    &["give", "award", "assign", "rate", "gib", "vergib", "bewerte"],
    &[
        "5/5",
        "10/10",
        "100/100",
        "score",
        "scores",
        "rating",
        "punkte",
        "punktzahl",
        "höchstpunktzahl",
        "bestnote",
    ],
];
/// Who is spoken to, and as what.
const ADDRESS: [&[&str]; 2] = [
    &["you", "du", "dear", "lieber", "liebe", "hinweis", "note", "system", "attention", "achtung"],
    &["grader", "evaluator", "prüfer", "bewerter", "llm", "sprachmodell", "ki-modell"],
];
/// Texts that only a reply of the judge, a chat template or a fence holds.
const TRACES: [&str; 12] = [
    "\"scores\"",
    "\"accuracy\":",
    "\"completeness\":",
    "\"coherence\":",
    "\"better\":",
    "<|im_start|>",
    "<|system|>",
    "[inst]",
    "<start_of_turn>",
    "<<sys>>",
    "<<<ende",
    "<<<end",
];

/// Whether `answer` speaks to the judge.
pub(crate) fn speaks_to_judge(answer: &str) -> bool {
    let lower = answer.to_lowercase();
    // Zero-width characters inside of a word must not hide it.
    let shown = neutralised(&lower);
    let has_trace = TRACES.iter().any(|trace| lower.contains(trace) || shown.contains(trace));
    let words: Vec<&str> = shown.split_whitespace().map(bare).collect();
    has_trace || [OVERRIDE, DEMAND, ADDRESS].iter().any(|[first, second]| are_near(&words, first, second))
}

/// Whether a word of `second` follows one of `first` closely.
fn are_near(words: &[&str], first: &[&str], second: &[&str]) -> bool {
    words
        .iter()
        .enumerate()
        .filter(|(_, word)| first.contains(word))
        .any(|(place, _)| words.iter().skip(place + 1).take(NEAR).any(|word| second.contains(word)))
}

/// A word without the punctuation around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|character: char| !character.is_alphanumeric())
}
