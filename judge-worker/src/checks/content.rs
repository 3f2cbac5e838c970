//! Answers without content: nothing to see, openings alone, words that have nothing to do with the question.

use std::collections::BTreeSet;

use clara_lifecycle::{
    golden::GoldenSample,
    score::{CheckCode, CheckFinding},
    text::{fold, visible, words},
};

/// Openings that some judges give high scores to, with nothing behind them; folded.
///
/// Source: "One Token to Fool LLM-as-a-Judge", arXiv 2507.08794, and the same in German.
const OPENINGS: [&str; 26] = [
    "thought process",
    "thoughts",
    "reasoning",
    "solution",
    "answer",
    "final answer",
    "the answer is",
    "let s solve this problem step by step",
    "let us solve this problem step by step",
    "let s think step by step",
    "step by step",
    "respuesta",
    "gedankengang",
    "ueberlegung",
    "ueberlegungen",
    "loesung",
    "antwort",
    "endgueltige antwort",
    "die antwort lautet",
    "begruendung",
    "ergebnis",
    "schritt fuer schritt",
    "loesen wir die aufgabe schritt fuer schritt",
    "lass uns das problem schritt fuer schritt loesen",
    "lassen sie uns schritt fuer schritt vorgehen",
    "kaisetsu",
];

/// Openings in scripts without blanks.
const OPENINGS_ELSEWHERE: [&str; 3] = ["解", "かいせつ", "解答"];

/// An expected output of fewer distinct words says too little about what an answer must share with it.
const LEAST_WORDS: usize = 12;

/// What is missing when an answer holds nothing that could be judged.
pub(super) fn nothing(sample: &GoldenSample, answer: &str) -> Option<CheckFinding> {
    let seen = visible(answer);
    if seen.trim().is_empty() {
        let invisible = answer.chars().filter(|character| !character.is_whitespace()).count();
        return Some(CheckCode::Empty.hard(match invisible {
            0 => "the answer is empty".to_owned(),
            count => format!("the answer holds nothing but {count} invisible characters"),
        }));
    }
    let folded = fold(&seen);
    if words_of(&fold(&sample.expected_output)) == words_of(&folded) {
        // An expected output such as `Solution` is content.
        return None;
    }
    if words_of(&fold(&sample.prompt)) == words_of(&folded) {
        return Some(CheckCode::NoContent.hard("the answer is the question again".to_owned()));
    }
    let rest = without_openings(&folded);
    rest.is_empty()
        .then(|| CheckCode::NoContent.hard("the answer holds an opening or punctuation alone".to_owned()))
}

/// Whether the answer shares no word with question, context and expected output.
pub(super) fn unrelated(sample: &GoldenSample, seen: &str) -> Option<CheckFinding> {
    let expected = fold(&sample.expected_output);
    let mut known: BTreeSet<&str> = words(&expected).collect();
    if known.len() < LEAST_WORDS {
        return None;
    }
    let asked = fold(&format!("{}\n{}", sample.prompt, sample.context.as_deref().unwrap_or_default()));
    known.extend(words(&asked));
    let folded = fold(seen);
    let shares = words(&folded).any(|word| known.contains(word));
    (!shares).then(|| {
        CheckCode::Unrelated
            .hard("the answer shares no word with the question and the expected output".to_owned())
    })
}

fn words_of(folded: &str) -> Vec<&str> {
    words(folded).collect()
}

/// The words that remain when openings are taken away, the longest first.
fn without_openings(folded: &str) -> String {
    let mut rest = format!(" {} ", words_of(folded).join(" "));
    let mut openings = OPENINGS;
    openings.sort_by_key(|opening| std::cmp::Reverse(opening.len()));
    for opening in openings {
        rest = rest.replace(&format!(" {opening} "), " ");
    }
    for opening in OPENINGS_ELSEWHERE {
        rest = rest.replace(&format!(" {opening} "), " ");
    }
    rest.trim().to_owned()
}
