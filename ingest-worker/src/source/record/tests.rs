//! The shapes of lines.

use clara_lifecycle::{
    dataset::{ChatMessage, TrainingContent},
    spec::FieldNames,
};

use super::{Record, parse};

fn record(line: &str) -> Record {
    parse(line, &FieldNames::default()).unwrap()
}

fn problem(line: &str) -> String {
    parse(line, &FieldNames::default()).unwrap_err()
}

fn turns(turns: &[(&str, &str)]) -> TrainingContent {
    let messages = turns
        .iter()
        .map(|(role, content)| ChatMessage { role: (*role).into(), content: (*content).into() })
        .collect();
    TrainingContent::Chat { messages }
}

#[test]
fn each_shape_is_told_by_its_fields() {
    assert_eq!(record(r#"{"text":"t"}"#).content, TrainingContent::Text { text: "t".into() });
    assert_eq!(
        record(r#"{"instruction":"i","input":"n","output":"o"}"#).content,
        turns(&[("user", "i\n\nn"), ("assistant", "o")])
    );
    assert_eq!(
        record(r#"{"instruction":"i","input":" ","output":"o"}"#).content,
        turns(&[("user", "i"), ("assistant", "o")])
    );
    assert_eq!(
        record(r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#).content,
        turns(&[("user", "q"), ("assistant", "a")])
    );
    assert_eq!(
        record(r#"{"prompt":"p","completion":"c"}"#).content,
        TrainingContent::PromptCompletion { prompt: "p".into(), completion: "c".into() }
    );
}

#[test]
fn the_richest_shape_wins_and_null_counts_as_missing() {
    let line = r#"{"text":"t","instruction":"i","output":"o","messages":null}"#;
    assert_eq!(record(line).content, turns(&[("user", "i"), ("assistant", "o")]));
}

#[test]
fn fields_can_be_mapped_to_other_names() {
    let fields = FieldNames {
        instruction: "frage".into(),
        output: "antwort".into(),
        id: "nr".into(),
        domain: "gebiet".into(),
        ..FieldNames::default()
    };
    let record = parse(r#"{"frage":"f","antwort":"a","nr":7,"gebiet":"baurecht"}"#, &fields).unwrap();
    assert_eq!(record.content, turns(&[("user", "f"), ("assistant", "a")]));
    assert_eq!((record.id.as_deref(), record.domain.as_deref()), (Some("7"), Some("baurecht")));
    assert!(record.metadata.is_empty());
}

#[test]
fn other_texts_become_metadata() {
    let record =
        record(r#"{"id":"x","text":"t","law":"BauGB","year":1960,"metadata":{"title":"Titel","n":1}}"#);
    let metadata: Vec<_> =
        record.metadata.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(metadata, [("law", "BauGB"), ("metadata.title", "Titel")]);
}

#[test]
fn a_problem_says_what_was_expected_and_found() {
    for (line, expected) in [
        (r#"{"text":"#, "ends too early at column 8"),
        (r"{text}", "syntax error at column 2"),
        ("[1]", "expected a JSON object, found a list"),
        (r#"{"body":"x","title":"y"}"#, "found `body`, `title`"),
        ("{}", "found none"),
        (r#"{"text":5}"#, "field `text` is a number, expected a text"),
        (r#"{"text":"t","id":[]}"#, "field `id` is a list"),
        (r#"{"instruction":"i","output":" "}"#, "field `output` is empty"),
        (r#"{"messages":"hi"}"#, "expected a list of messages"),
        (r#"{"messages":[{"role":"user","content":"q"}]}"#, "no turn of the assistant"),
        (r#"{"messages":[{"role":"bot","content":"q"}]}"#, "message 1 of `messages` has an unknown role"),
        (r#"{"messages":[{"role":"assistant"}]}"#, "no text in `content`"),
    ] {
        let problem = problem(line);
        assert!(problem.contains(expected), "{line}: {problem}");
    }
}

#[test]
fn a_problem_never_quotes_the_content() {
    for line in [
        r#"{"text":"geheim" x}"#,
        r#"{"text":["geheim"]}"#,
        r#""geheim""#,
        r#"{"messages":[{"role":"geheim","content":"geheim"}]}"#,
    ] {
        assert!(!problem(line).contains("geheim"), "{line}");
    }
}

#[test]
fn licence_and_classification_are_told_apart_from_metadata() {
    let found = record(r#"{"text":"t","license":" CC0-1.0 ","classification":"public","titel":"T"}"#);
    assert_eq!(found.licence.as_deref(), Some("CC0-1.0"));
    assert_eq!(found.classification.as_deref(), Some("public"));
    assert_eq!(found.metadata.keys().collect::<Vec<_>>(), ["titel"]);
    let found = record(r#"{"text":"t","license":["MIT","Apache-2.0"],"classification":{}}"#);
    assert_eq!(found.licence.as_deref(), Some("MIT, Apache-2.0"));
    assert_eq!(found.classification, None);
}
