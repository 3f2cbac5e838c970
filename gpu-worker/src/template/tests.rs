//! Conversations as the transformers library renders them, and the assistant's part of them.

use std::path::Path;

use serde::Deserialize;

use super::*;
use crate::model;

#[derive(Deserialize)]
struct Cases {
    conversations: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    messages: Vec<ChatMessage>,
    add_generation_prompt: bool,
    rendered: String,
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn template(source: Option<&str>) -> ChatTemplate {
    ChatTemplate::new(source, &model::load(&fixture("tiny-llama"), model::Precision::Full).unwrap().tokenizer)
        .unwrap()
}

fn message(role: &str, content: &str) -> ChatMessage {
    ChatMessage { role: role.into(), content: content.into() }
}

fn spoken(rendered: &RenderedChat) -> Vec<&str> {
    rendered.assistant.iter().map(|range| &rendered.text[range.clone()]).collect()
}

#[test]
fn conversations_are_rendered_as_the_reference_renders_them() {
    let cases: Cases =
        serde_json::from_slice(&std::fs::read(fixture("tiny-llama-texts.json")).unwrap()).unwrap();
    let own = model::load(&fixture("tiny-llama"), model::Precision::Full).unwrap().chat_template;
    assert!(!own.is_fallback());
    for case in &cases.conversations {
        assert_eq!(own.render(&case.messages, case.add_generation_prompt).unwrap(), case.rendered);
    }
}

#[test]
fn the_assistant_says_its_turns_and_their_end_marks() {
    let chat = [
        message("system", "Antworte kurz."),
        message("user", "Frage eins"),
        message("assistant", "Antwort eins"),
        message("user", "Frage zwei"),
        message("assistant", "Antwort zwei"),
    ];
    let rendered = template(None).render_turns(&chat).unwrap();
    assert_eq!(spoken(&rendered), ["Antwort eins<|im_end|>", "Antwort zwei<|im_end|>"]);
}

#[test]
fn a_template_that_rewrites_earlier_turns_is_refused() {
    let counting = "{{ messages | length }}{% for message in messages %}{{ message.content }}{% endfor %}";
    let chat = [message("user", "Frage"), message("assistant", "Antwort"), message("user", "Danke")];
    let refused = template(Some(counting)).render_turns(&chat).unwrap_err();
    assert!(matches!(refused, TemplateError::NotAPrefix { .. }), "{refused}");
}

#[test]
fn python_methods_and_loop_controls_work() {
    let source = "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}\
                  {{ m['content'].strip().upper() }}{{ ' ' if not loop.last }}{% endfor %}";
    let chat = [message("system", "x"), message("user", " ab "), message("assistant", "cd")];
    assert_eq!(template(Some(source)).render(&chat, false).unwrap(), "AB CD");
}

#[test]
fn an_exception_raised_by_the_template_is_the_error() {
    let source = "{{ raise_exception('roles must alternate') }}";
    let error = template(Some(source)).render(&[message("user", "a")], false).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("roles must alternate"), "{cause}");
}

#[test]
fn json_is_written_as_python_writes_it() {
    let source = "{{ messages | tojson }}";
    let text = template(Some(source)).render(&[message("user", "<Ä> & 'b'")], false).unwrap();
    assert_eq!(text, r#"[{"role": "user", "content": "<Ä> & 'b'"}]"#);
}

#[test]
fn generation_marks_leave_no_trace() {
    let source = "{% for m in messages %}{%- generation -%}{{ m.content }}{% endgeneration %}{% endfor %}";
    assert_eq!(template(Some(source)).render(&[message("user", "a")], false).unwrap(), "a");
}

#[test]
fn a_broken_template_is_refused_when_it_is_loaded() {
    let tokenizer = model::load(&fixture("tiny-llama"), model::Precision::Full).unwrap().tokenizer;
    let refused = ChatTemplate::new(Some("{% for %}"), &tokenizer).unwrap_err();
    assert!(matches!(refused, TemplateError::Parse { .. }));
}

#[test]
fn special_tokens_are_at_hand() {
    assert_eq!(
        template(Some("{{ bos_token }}{{ eos_token }}")).render::<ChatMessage>(&[], false).unwrap(),
        "<|im_start|><|im_end|>"
    );
}
