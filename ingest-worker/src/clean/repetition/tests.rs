//! What repeats, and how much of the text it makes.

use std::fmt::Write as _;

use clara_lifecycle::dataset::TrainingContent;

use super::{Repetition, RepetitionMeter};
use crate::words::Words;

fn measure(text: &str) -> Repetition {
    let content = TrainingContent::Text { text: text.into() };
    let mut words = Words::default();
    words.read(&content);
    RepetitionMeter::default().measure(&content, &words)
}

/// Sentences without a common phrase.
fn varied(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        writeln!(text, "Satz{n} behandelt{n} eine{n} Frage{n} und{n} ihre{n} Antwort{n} mit{n} Gründen{n}.")
            .unwrap();
        text
    })
}

#[test]
fn a_text_that_says_everything_once_has_none() {
    assert!(measure(&varied(10)).share < 1e-9);
}

#[test]
fn half_of_a_text_said_twice_is_half_of_it() {
    let text = format!("{0}{0}", varied(10));
    let found = measure(&text);
    assert!((found.share - 0.5).abs() < 0.01, "{found:?}");
    let paragraphs = measure(&format!("{0}\n{0}\n{1}", varied(10), "Etwas anderes steht nur einmal hier."));
    assert!((0.4..0.5).contains(&paragraphs.share), "{paragraphs:?}");
}

#[test]
fn a_phrase_repeated_without_end_makes_nearly_all() {
    for text in ["Der Antrag ist zu stellen. ".repeat(30), "ja ".repeat(100), "kaufen Sie jetzt ".repeat(20)]
    {
        assert!(measure(&text).share > 0.85, "{text}");
    }
}

#[test]
fn a_frequent_pair_of_words_between_other_words_is_found() {
    let text = (0..40).fold(String::new(), |mut text, n| {
        write!(text, "Sonderangebot Gewinnspiel n{n} ").unwrap();
        text
    });
    let found = measure(&text);
    assert!(found.share > 0.7 && found.what == "one phrase", "{found:?}");
}

#[test]
fn a_short_text_may_repeat_itself() {
    assert!(measure("Nein, nein, nein und nochmals nein.").share < 1e-9);
}
