//! Fields of servers that become records.

use std::collections::BTreeMap;

use clara_runtime::config::RemoteSettings;
use serde_json::{Value, json};

use super::{Fetched, Mapping};

fn mapping(fields: &[(&str, &str)], metadata: &[&str]) -> Mapping {
    let fields: BTreeMap<String, String> =
        fields.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect();
    let metadata = metadata.iter().map(|path| (*path).to_owned()).collect();
    Mapping::new(&RemoteSettings { fields, metadata, ..RemoteSettings::default() }, &[], &[]).unwrap()
}

fn record(mapping: &Mapping, object: &Value) -> Value {
    match mapping.record("d1", object.as_object().unwrap()) {
        Fetched::Record(record) => record.into(),
        Fetched::Broken { problem, .. } => panic!("{problem}"),
    }
}

fn problem(mapping: &Mapping, object: &Value) -> String {
    match mapping.record("d1", object.as_object().unwrap()) {
        Fetched::Record(record) => panic!("{record:?}"),
        Fetched::Broken { problem, .. } => problem,
    }
}

#[test]
fn mapped_fields_get_the_names_of_the_pipeline_and_the_rest_becomes_metadata() {
    let mapping = mapping(&[("text", "body.plain"), ("domain", "rechtsgebiet"), ("licence", "recht")], &[]);
    let object = json!({"body": {"plain": "§ 1", "pages": 2}, "rechtsgebiet": "baurecht", "recht": "CC0", "titel": "Gesetz"});
    assert_eq!(
        record(&mapping, &object),
        json!({"id": "d1", "text": "§ 1", "domain": "baurecht", "license": "CC0", "titel": "Gesetz", "body.pages": "2"})
    );
}

#[test]
fn only_the_metadata_that_is_asked_for_is_taken() {
    let mapping = mapping(&[], &["meta.behoerde", "tags", "meta.fehlt"]);
    let object =
        json!({"text": "a", "meta": {"behoerde": "Bauamt", "x": 1}, "tags": ["bau", "recht"], "weg": "b"});
    assert_eq!(
        record(&mapping, &object),
        json!({"id": "d1", "text": "a", "meta.behoerde": "Bauamt", "tags": "bau, recht"})
    );
}

#[test]
fn metadata_never_passes_for_a_mapped_field() {
    let mapping = mapping(&[("text", "content")], &[]);
    let object = json!({"content": "a", "text": "b", "domain": null});
    assert_eq!(record(&mapping, &object), json!({"id": "d1", "text": "a", "source.text": "b"}));
}

#[test]
fn a_document_without_text_is_broken_and_says_where_it_was_looked_for() {
    let mapping = mapping(&[("text", "content")], &[]);
    assert!(problem(&mapping, &json!({"content": null, "title": "t"})).contains("no text in `content`"));
    assert!(
        problem(&mapping, &json!({"content": {"a": 1}})).contains("`content` is an object, expected a text")
    );
    assert!(problem(&mapping, &json!({"prompt": "a"})).contains("no text"));
}

#[test]
fn other_shapes_need_no_text() {
    let mapping = mapping(&[], &[]);
    let asked = json!({"id": "d1", "instruction": "Frage", "output": "Antwort"});
    assert_eq!(record(&mapping, &asked), asked);
    let messages = json!([{"role": "user", "content": "a"}]);
    assert_eq!(record(&mapping, &json!({"messages": messages.to_string()}))["messages"], messages);
    assert!(problem(&mapping, &json!({"messages": "no list"})).contains("expected a list of messages"));
}

#[test]
fn an_unknown_name_is_refused_with_those_that_are_known() {
    let fields = BTreeMap::from([("txt".to_owned(), "content".to_owned())]);
    let settings = RemoteSettings { fields, ..RemoteSettings::default() };
    let problem = Mapping::new(&settings, &[], &[]).unwrap_err();
    assert!(problem.contains("`txt`") && problem.contains("text"), "{problem}");
}
