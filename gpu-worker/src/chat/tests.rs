//! Behaviour of conversations on the tiny random model.

use std::path::Path;

use super::*;

fn config() -> ChatConfig {
    ChatConfig {
        base_model: Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny-llama"),
        precision: crate::model::Precision::Full,
        adapters: Vec::new(),
        adapter: None,
        system_prompt: None,
        sampling: Sampling::GREEDY,
        max_tokens: 8,
    }
}

fn opened(config: ChatConfig) -> Result<Chat, ChatError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(open(config, &ModelCache::new()))
}

/// Answers and talk of a whole conversation.
fn conversation(lines: &str) -> (String, String) {
    let (mut out, mut talk) = (Vec::new(), Vec::new());
    opened(config()).unwrap().converse(&mut lines.as_bytes(), &mut out, &mut talk).unwrap();
    (String::from_utf8(out).unwrap(), String::from_utf8(talk).unwrap())
}

#[test]
fn a_question_is_answered_the_same_way_after_a_reset() {
    let (once, _) = conversation("Hallo\n");
    assert!(once.ends_with('\n') && once.len() > 1);
    let (twice, _) = conversation("Hallo\n/reset\n\nHallo\n/quit\nHallo\n");
    assert_eq!(twice, once.repeat(2));
}

#[test]
fn a_mistyped_command_or_adapter_does_not_end_the_conversation() {
    let (out, talk) = conversation("/hilfe\n/adapter recht\nHallo\n");
    assert!(talk.contains("unknown command /hilfe"), "{talk}");
    assert!(talk.contains("no adapter named recht is loaded; loaded are: none"), "{talk}");
    assert_eq!(out, conversation("Hallo\n").0);
}

#[test]
fn an_unknown_first_adapter_is_refused() {
    let error = opened(ChatConfig { adapter: Some("recht".into()), ..config() }).unwrap_err();
    assert!(matches!(error, ChatError::UnknownAdapter { .. }), "{error}");
}
