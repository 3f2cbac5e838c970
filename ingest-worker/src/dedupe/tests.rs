//! Which texts count as the same, as nearly the same, and as known.

use std::path::PathBuf;

use clara_lifecycle::dataset::TrainingContent;
use tempfile::TempDir;

use super::{Duplicates, KnownTexts, Near, text_digest};
use crate::{hashing::mix, source::Origin, words::Words};

/// A finder with a folder for its files.
struct Finder {
    folder: TempDir,
    duplicates: Duplicates,
    words: Words,
    line: u64,
}

#[derive(Debug, PartialEq)]
enum Found {
    Same(String),
    Near(Near),
    New,
}

impl Finder {
    fn new(limit: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let duplicates = Duplicates::create(limit, folder.path(), folder.path()).unwrap();
        Self { folder, duplicates, words: Words::default(), line: 0 }
    }

    /// Looks for a document, and keeps it when it is new.
    fn take(&mut self, content: &TrainingContent) -> Found {
        self.line += 1;
        let text = text_digest(content);
        if let Some(origin) = self.duplicates.same(text).unwrap() {
            return Found::Same(origin);
        }
        self.words.read(content);
        let signature = self.duplicates.sign(text, content, &self.words);
        if let Some(near) = self.duplicates.near(&signature).unwrap() {
            return Found::Near(near);
        }
        self.duplicates.keep(&signature, &Origin::line("law.jsonl", self.line)).unwrap();
        Found::New
    }

    /// Ends the writing and gives the file of signatures.
    fn finish(self) -> (TempDir, PathBuf) {
        self.duplicates.finish(&[]).unwrap();
        let file = self.folder.path().join("signatures.bin");
        (self.folder, file)
    }
}

fn text(text: &str) -> TrainingContent {
    TrainingContent::Text { text: text.into() }
}

/// A made-up text of `words` words, other words for another seed.
fn made_up(seed: u64, words: u64) -> Vec<String> {
    (0..words).map(|word| format!("w{}", mix(seed << 32 | word) % 5_000)).collect()
}

/// Replaces every `step`-th word.
fn edited(words: &[String], step: usize) -> String {
    let edit = |(index, word): (usize, &String)| {
        if index % step == step - 1 { format!("x{index}") } else { word.clone() }
    };
    words.iter().enumerate().map(edit).collect::<Vec<_>>().join(" ")
}

#[test]
fn blanks_case_and_unicode_form_do_not_make_a_new_text() {
    let mut finder = Finder::new(1.0);
    assert_eq!(finder.take(&text("Das Gebäude ist genehmigt.")), Found::New);
    assert_eq!(finder.take(&text("das  Geba\u{308}ude\nIST genehmigt. ")), Found::Same("law.jsonl:1".into()));
    assert_eq!(finder.take(&text("Das Gebäude ist nicht genehmigt.")), Found::New);
}

#[test]
fn the_same_words_split_elsewhere_are_another_record() {
    let pair = |prompt: &str, completion: &str| TrainingContent::PromptCompletion {
        prompt: prompt.into(),
        completion: completion.into(),
    };
    let mut finder = Finder::new(1.0);
    assert_eq!(finder.take(&pair("Was gilt?", "Das gilt.")), Found::New);
    assert_eq!(finder.take(&pair("Was", "gilt? Das gilt.")), Found::New);
}

#[test]
fn a_text_with_few_edits_is_nearly_the_same_and_one_with_many_is_not() {
    let words = made_up(1, 400);
    let mut finder = Finder::new(0.85);
    assert_eq!(finder.take(&text(&words.join(" "))), Found::New);
    let Found::Near(near) = finder.take(&text(&edited(&words, 100))) else { panic!("not found") };
    assert_eq!(near.origin, "law.jsonl:1");
    assert!((0.85..1.0).contains(&near.similarity), "{near:?}");
    assert_eq!(finder.take(&text(&edited(&words, 20))), Found::New);
    assert_eq!(finder.take(&text(&made_up(2, 400).join(" "))), Found::New);
}

#[test]
fn a_limit_of_one_drops_no_near_duplicate() {
    let words = made_up(1, 400);
    let mut finder = Finder::new(1.0);
    finder.take(&text(&words.join(" ")));
    assert_eq!(finder.take(&text(&edited(&words, 399))), Found::New);
}

#[test]
fn texts_without_words_are_not_nearly_the_same() {
    let mut finder = Finder::new(0.85);
    assert_eq!(finder.take(&text("--- … ---")), Found::New);
    assert_eq!(finder.take(&text("!!! ??? !!!")), Found::New);
}

#[test]
fn conversations_that_share_the_turn_of_the_system_are_not_nearly_the_same() {
    let system = made_up(3, 500).join(" ");
    let chat = |question: &str| {
        let turns =
            [("system", system.as_str()), ("user", question), ("assistant", "Das kommt auf den Fall an.")];
        let message = |(role, content): (&str, &str)| clara_lifecycle::dataset::ChatMessage {
            role: role.into(),
            content: content.into(),
        };
        TrainingContent::Chat { messages: turns.into_iter().map(message).collect() }
    };
    let mut finder = Finder::new(0.85);
    assert_eq!(finder.take(&chat("Wann ist ein Bauantrag zu stellen und bei wem?")), Found::New);
    assert_eq!(finder.take(&chat("Welche Frist gilt für den Widerspruch gegen den Bescheid?")), Found::New);
}

#[test]
fn the_finder_agrees_with_a_comparison_of_all_pairs() {
    let mut texts = Vec::new();
    for seed in 0..200 {
        let words = made_up(seed, 60 + seed * 37 % 300);
        texts.push(words.join(" "));
        texts.extend([200, 90, 60, 30, 10].map(|step| edited(&words, step)));
    }
    let agreement = super::agreement::compare(&texts, 0.85);
    eprintln!("{agreement:?}");
    assert!(agreement.recall >= 0.95 && agreement.precision >= 0.95, "{agreement:?}");
    assert!(agreement.duplicates > 300, "{agreement:?}");
}

#[test]
#[ignore = "needs CLARA_SECTIONS, a JSONL file of sections with `text`"]
fn the_finder_agrees_with_a_comparison_of_all_pairs_of_real_sections() {
    let file = std::env::var("CLARA_SECTIONS").unwrap();
    let lines = std::fs::read_to_string(file).unwrap();
    let mut texts = Vec::new();
    for (line, number) in lines.lines().zip(0_u64..) {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let words: Vec<String> =
            value["text"].as_str().unwrap().split_whitespace().map(str::to_owned).collect();
        texts.push(words.join(" "));
        // One edit in so many words, differing from section to section.
        let step = 5 + usize::try_from(mix(number) % 120).unwrap();
        texts.push(edited(&words, step));
    }
    for limit in [0.7, 0.8, 0.85, 0.9] {
        let agreement = super::agreement::compare(&texts, limit);
        eprintln!("limit {limit}: {agreement:?}");
        assert!(agreement.recall >= 0.95 && agreement.precision >= 0.95, "{agreement:?}");
    }
}

#[test]
fn documents_of_an_earlier_dataset_are_known() {
    let words = made_up(7, 300);
    let mut earlier = Finder::new(0.85);
    for content in [text(&words.join(" ")), text("Kurz."), text(&made_up(8, 300).join(" "))] {
        assert_eq!(earlier.take(&content), Found::New);
    }
    let (_folder, file) = earlier.finish();
    let similarity = |content: &TrainingContent, limit: f64| {
        let mut known = KnownTexts::open(std::slice::from_ref(&file), limit).unwrap();
        let mut finder = Finder::new(limit);
        finder.words.read(content);
        let signature = finder.duplicates.sign(text_digest(content), content, &finder.words);
        known.similarity(&signature, finder.duplicates.has_words()).unwrap()
    };
    assert_eq!(similarity(&text("kurz. "), 0.85), Some(1.0));
    assert_eq!(similarity(&text("kurz. "), 1.0), Some(1.0));
    let near = similarity(&text(&edited(&words, 150)), 0.85).unwrap();
    assert!((0.85..1.0).contains(&near), "{near}");
    assert_eq!(similarity(&text(&edited(&words, 150)), 1.0), None);
    assert_eq!(similarity(&text(&made_up(9, 300).join(" ")), 0.85), None);
}

#[test]
fn a_document_that_was_left_out_after_all_is_not_known_later() {
    let texts: Vec<TrainingContent> = (1..=4).map(|seed| text(&made_up(seed, 40).join(" "))).collect();
    let mut earlier = Finder::new(0.85);
    for content in &texts {
        assert_eq!(earlier.take(content), Found::New);
    }
    earlier.duplicates.finish(&[true, false, true]).unwrap();
    let file = earlier.folder.path().join("signatures.bin");
    let mut known = KnownTexts::open(&[file], 0.85).unwrap();
    let mut finder = Finder::new(0.85);
    let found: Vec<bool> = texts
        .iter()
        .map(|content| {
            finder.words.read(content);
            let signature = finder.duplicates.sign(text_digest(content), content, &finder.words);
            known.similarity(&signature, finder.duplicates.has_words()).unwrap().is_some()
        })
        .collect();
    assert_eq!(found, [false, true, false, true]);
}

#[test]
fn a_file_that_holds_no_signatures_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("signatures.bin");
    let (_earlier, good) = Finder::new(0.85).finish();
    let head = std::fs::read(good).unwrap();
    for (bytes, expected) in [
        (&head[..7], "found 7 bytes in all"),
        (&[b'x'; 16][..], "expected the head of layout 1"),
        (&[head.clone(), vec![0; 100]].concat()[..], "found a part of one"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let error = KnownTexts::open(std::slice::from_ref(&file), 0.85).unwrap_err();
        assert!(!error.is_retryable());
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(KnownTexts::open(&[folder.path().join("missing")], 0.85).is_err());
}

#[test]
fn tables_that_grow_forget_nothing() {
    let mut finder = Finder::new(0.85);
    for seed in 0..6_000 {
        assert_eq!(finder.take(&text(&made_up(seed, 12).join(" "))), Found::New, "{seed}");
    }
    for seed in [0, 17, 4_095, 4_096, 5_121, 5_999] {
        assert_eq!(
            finder.take(&text(&made_up(seed, 12).join("  "))),
            Found::Same(format!("law.jsonl:{}", seed + 1))
        );
    }
}
