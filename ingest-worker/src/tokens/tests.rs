//! Counts with a small tokenizer that knows words.

use std::fs;

use clara_lifecycle::dataset::{ChatMessage, TrainingContent, TrainingRecord};
use serde_json::json;
use tempfile::TempDir;

use super::TokenCounter;

/// A Hugging Face folder whose tokenizer makes each word one token, and would cut after two.
pub(crate) fn model() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}
    });
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    folder
}

fn record(id: &str, words: usize) -> TrainingRecord {
    let content = TrainingContent::Text { text: "Wort ".repeat(words) };
    TrainingRecord { document_id: id.into(), content }
}

#[test]
fn all_tokens_of_a_record_count_whatever_the_tokenizer_would_cut() {
    let model = model();
    let mut counter = TokenCounter::open(model.path().to_str()).unwrap();
    for words in 1..=100 {
        counter.count(&record(&format!("doc-{words}"), words), words % 10 == 0).unwrap();
    }
    let report = counter.report().unwrap();
    assert_eq!((report.train, report.validation), (5_050 - 550, 550));
    assert_eq!((report.p50, report.p95, report.longest), (50, 95, 100));
    assert_eq!(report.longest_record, "doc-100");
}

#[test]
fn every_turn_of_a_conversation_counts() {
    let model = model();
    let mut counter = TokenCounter::open(model.path().to_str()).unwrap();
    let message = |role: &str, content: &str| ChatMessage { role: role.into(), content: content.into() };
    let messages = vec![message("user", "Was gilt"), message("assistant", "Das Gesetz gilt")];
    let content = TrainingContent::Chat { messages };
    counter.count(&TrainingRecord { document_id: "chat".into(), content }, false).unwrap();
    assert_eq!(counter.report().unwrap().longest, 5);
}

#[test]
fn a_base_model_without_a_tokenizer_says_why_nothing_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let why = |base_model: Option<&str>| TokenCounter::open(base_model).unwrap_err();
    assert!(why(None).contains("no base model"));
    assert!(why(folder.path().to_str()).contains("tokenizer.json"));
    let gguf = folder.path().join("model.gguf");
    fs::write(&gguf, "GGUF").unwrap();
    assert!(why(gguf.to_str()).contains("GGUF"));
    fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    assert!(why(folder.path().to_str()).contains("holds no tokenizer"));
}
