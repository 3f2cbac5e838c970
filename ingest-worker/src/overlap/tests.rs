//! What counts as an overlap with a golden sample.

use clara_lifecycle::dataset::{ChatMessage, TrainingContent};

use super::{Overlap, OverlapCheck};
use crate::{ingest::GoldenText, words::Words};

const PROMPT: &str =
    "Unter welchen Voraussetzungen ist eine Photovoltaikanlage im Außenbereich privilegiert?";
const OUTPUT: &str = "Nach § 35 Abs. 1 Nr. 8 BauGB ist sie privilegiert, wenn sie längs von Autobahnen steht und \
                      der Abstand zur Fahrbahn höchstens zweihundert Meter beträgt.";

fn sample(id: &str, prompt: &str, expected_output: &str) -> GoldenText {
    GoldenText { sample_id: id.into(), prompt: prompt.into(), expected_output: expected_output.into() }
}

fn check(limit: f64) -> OverlapCheck {
    let samples = [sample("s-1", PROMPT, OUTPUT), sample("s-2", "Definiere Verwaltungsakt.", "Ja")];
    OverlapCheck::new(&samples, 8, limit)
}

fn text(text: &str) -> Words {
    words(&TrainingContent::Text { text: text.into() })
}

fn words(content: &TrainingContent) -> Words {
    let mut words = Words::default();
    words.read(content);
    words
}

#[test]
fn a_golden_text_within_a_long_document_is_found_whole() {
    let filler = "Dies ist ein anderer Satz über die Gebühren der Verwaltung. ".repeat(200);
    let spelled_otherwise = OUTPUT.replace("längs", "laengs").replace(' ', "\n").to_uppercase();
    let found = check(0.2).find(&text(&format!("{filler}{spelled_otherwise} {filler}"))).unwrap();
    assert_eq!(found, Overlap { sample_id: "s-1".into(), share: 1.0 });
}

#[test]
fn the_share_is_of_the_sample_and_the_limit_is_inclusive() {
    // 26 words make 19 n-grams; the first 12 words hold 5 of them.
    let opening = OUTPUT.split_whitespace().take(13).collect::<Vec<_>>().join(" ");
    let share = check(0.0).find(&text(&opening)).unwrap().share;
    assert!((0.2..0.4).contains(&share), "{share}");
    assert!(check(share).find(&text(&opening)).is_some());
    assert!(check(share + 1e-9).find(&text(&opening)).is_none());
}

#[test]
fn an_unrelated_document_passes_even_at_limit_zero() {
    assert_eq!(
        check(0.0).find(&text("Die Gemeinden stellen Bauleitpläne in eigener Verantwortung auf.")),
        None
    );
}

#[test]
fn the_prompt_alone_is_an_overlap() {
    let messages = vec![
        ChatMessage { role: "user".into(), content: PROMPT.into() },
        ChatMessage { role: "assistant".into(), content: "Etwas ganz anderes.".into() },
    ];
    assert_eq!(check(0.2).find(&words(&TrainingContent::Chat { messages })).unwrap().sample_id, "s-1");
}

#[test]
fn a_part_shorter_than_the_ngram_must_occur_as_a_whole() {
    let check = OverlapCheck::new(&[sample("s", "Was regelt § 35 BauGB?", "")], 8, 0.5);
    assert!(check.find(&text("Zur Frage, was regelt § 35 BauGB, siehe unten.")).is_some());
    assert!(check.find(&text("Was regelt § 34 BauGB? Und § 35 BauGB?")).is_none());
}

#[test]
fn a_very_short_prompt_counts_only_as_a_whole_text_and_a_very_short_output_never() {
    let instruction = TrainingContent::PromptCompletion {
        prompt: "definiere Verwaltungsakt".into(),
        completion: "§ 35 VwVfG.".into(),
    };
    assert_eq!(check(0.2).find(&words(&instruction)).unwrap().sample_id, "s-2");
    assert_eq!(check(0.2).find(&text("Ja, definiere Verwaltungsakt und Allgemeinverfügung.")), None);
    assert_eq!(check(0.2).find(&text("Ja")), None);
}
