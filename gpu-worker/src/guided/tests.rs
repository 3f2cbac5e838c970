//! Behaviour of guided texts: whatever the model prefers, the result parses and fits.

use serde_json::Value;

use super::*;
use crate::{
    sampling::{Sampler, Sampling},
    token_texts::tests::small,
};

const JUDGE: &str = r#"{
    "type": "object", "additionalProperties": false, "required": ["zeta", "grade", "passed", "note", "inner"],
    "properties": {
        "zeta": {"type": "integer", "minimum": 0, "maximum": 10},
        "grade": {"type": "string", "enum": ["gut", "gut genug", "schlecht – ganz"]},
        "passed": {"type": "boolean", "description": "whether it passes"},
        "note": {"type": "string", "maxLength": 12},
        "inner": {"type": "object", "properties": {"a": {"type": "integer", "minimum": -20, "maximum": 120}, "b": {"enum": [1, 15]}}}
    }}"#;

fn guide(schema: &str) -> Result<Guide, SchemaError> {
    Guide::compile(&serde_json::from_str(schema).unwrap())
}

/// Generates with random logits, as the batch does: forced text first, then one allowed token.
fn random_text(guide: &Guide, vocabulary: &TokenTexts, sampler: &mut Sampler) -> String {
    let (mut position, mut bytes) = (guide.start(), Vec::new());
    while !guide.is_complete(position) {
        let forced = guide.forced(position);
        position = guide.advance_all(position, &forced).unwrap();
        bytes.extend_from_slice(&forced);
        if guide.is_complete(position) {
            break;
        }
        let allowed: Vec<(u32, f32)> =
            guide.allowed(position, vocabulary).into_iter().map(|token| (token, 0.0)).collect();
        let piece = vocabulary.bytes(sampler.choose(&allowed).expect("some token always fits"));
        position = guide.advance_all(position, piece).unwrap();
        bytes.extend_from_slice(piece);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn random_logits_always_give_json_that_fits_the_schema() {
    let (guide, vocabulary) = (guide(JUDGE).unwrap(), small());
    for seed in 0..400 {
        let mut sampler = Sampler::new(Sampling { temperature: 1.0, top_p: 1.0, seed });
        let text = random_text(&guide, &vocabulary, &mut sampler);
        let value: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("seed {seed}: {error} in {text}"));
        assert!((0..=10).contains(&value["zeta"].as_i64().unwrap()), "seed {seed}: {text}");
        assert!(["gut", "gut genug", "schlecht – ganz"].contains(&value["grade"].as_str().unwrap()));
        assert!(value["passed"].is_boolean());
        assert!(value["note"].as_str().unwrap().chars().count() <= 12, "seed {seed}: {text}");
        assert!((-20..=120).contains(&value["inner"]["a"].as_i64().unwrap()), "seed {seed}: {text}");
        assert!([1, 15].contains(&value["inner"]["b"].as_i64().unwrap()));
        assert_eq!(value.as_object().unwrap().len(), 5);
    }
}

#[test]
fn properties_keep_the_order_of_the_schema() {
    let forced = guide(JUDGE).map(|guide| guide.forced(guide.start())).unwrap();
    assert_eq!(forced, b"{\"zeta\": ");
}

#[test]
fn text_up_to_the_next_choice_is_forced() {
    let guide = guide(JUDGE).unwrap();
    let after = guide.advance_all(guide.start(), b"{\"zeta\": 7").unwrap();
    assert_eq!(guide.forced(after), b", \"grade\": \"");
    let open = guide.advance_all(guide.start(), b"{\"zeta\": 1").unwrap();
    assert_eq!(guide.forced(open), b"", "10 is still possible");
    let settled = guide.advance_all(guide.start(), b"{\"zeta\": 10, \"grade\": \"s").unwrap();
    assert_eq!(guide.forced(settled), "chlecht – ganz\", \"passed\": ".as_bytes());
}

#[test]
fn a_token_may_cross_from_a_value_into_the_fixed_text() {
    let guide = guide(JUDGE).unwrap();
    let vocabulary = small();
    let inside = guide
        .advance_all(guide.start(), b"{\"zeta\": 3, \"grade\": \"gut\", \"passed\": true, \"note\": \"gut")
        .unwrap();
    let allowed = guide.allowed(inside, &vocabulary);
    let crossing = [b".\"".as_slice(), b"\",".as_slice()];
    assert!(crossing.iter().all(|text| allowed.iter().any(|&token| vocabulary.bytes(token) == *text)));
    assert!(!allowed.iter().any(|&token| vocabulary.bytes(token) == b"\"}"));
}

#[test]
fn control_characters_broken_utf8_and_lone_surrogates_are_refused() {
    let guide = guide(r#"{"type": "object", "properties": {"t": {"type": "string"}}}"#).unwrap();
    let inside = guide.advance_all(guide.start(), b"{\"t\": \"").unwrap();
    for bytes in [b"\n".as_slice(), b"\xff", b"\xc3\"", b"\\x", b"\\ud800", b"\\uDFFF", b"\xed\xa0\x80"] {
        assert!(guide.advance_all(inside, bytes).is_none(), "{bytes:?}");
    }
    for text in ["\\n", "\\\"", "ß€🏠", "\\u00e4", "\\ud7ff"] {
        assert!(guide.advance_all(inside, text.as_bytes()).is_some(), "{text}");
    }
}

#[test]
fn an_unsupported_schema_is_refused_by_naming_the_keyword_and_its_place() {
    let cases = [
        (r#"{"type": "array", "items": {"type": "integer"}}"#, "$", "`object`"),
        (r#"{"type": "object", "properties": {"a": {"type": "array"}}}"#, "$.a", "`array`"),
        (
            r#"{"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}}"#,
            "$.a",
            "`pattern`",
        ),
        (r#"{"type": "object", "properties": {"a": {"type": "integer"}}}"#, "$.a", "`minimum`"),
        (
            r#"{"type": "object", "properties": {"a": {"type": "integer", "minimum": 5, "maximum": 2}}}"#,
            "$.a",
            "above",
        ),
        (
            r#"{"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 1000}}}"#,
            "$.a",
            "`maximum`",
        ),
        (r#"{"type": "object", "properties": {"a": {"anyOf": []}}}"#, "$.a", "`anyOf`"),
        (r#"{"type": "object", "properties": {"a": {"enum": []}}}"#, "$.a", "empty"),
        (r#"{"type": "object", "properties": {"a": {"enum": [1.5]}}}"#, "$.a", "`enum`"),
        (r#"{"type": "object", "required": ["b"], "properties": {}}"#, "$", "`b`"),
        (r#"{"type": "object", "properties": {"a": {"type": ["string", "null"]}}}"#, "$.a", "`type`"),
    ];
    for (schema, path, word) in cases {
        let error = guide(schema).unwrap_err();
        assert_eq!(error.path, path, "{schema}");
        assert!(error.reason.contains(word), "{schema}: {}", error.reason);
    }
}
