//! How documents become records, and what settings are refused.

use std::collections::BTreeMap;

use clara_runtime::config::{RemoteSettings, Secret};
use serde_json::{Map, Value, json};

use super::{
    ThemisDb,
    cursor::{At, Cursor, Seen},
    record::Mapping,
};
use crate::fetch::RemoteRequest;

fn settings(fields: &[(&str, &str)]) -> RemoteSettings {
    RemoteSettings {
        url: Some(Secret::new("http://localhost:1")),
        table: Some("documents".into()),
        fields: fields.iter().map(|(name, field)| ((*name).to_owned(), (*field).to_owned())).collect(),
        ..RemoteSettings::default()
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

fn refused(settings: RemoteSettings) -> String {
    let request = RemoteRequest {
        source: "@gesetze".into(),
        settings,
        domain: "verwaltungsrecht".parse().unwrap(),
        query: None,
        top_k: None,
        since: None,
    };
    let error = ThemisDb::open(request, None).unwrap_err();
    assert!(!error.is_retryable());
    error.to_string()
}

#[test]
fn a_document_becomes_a_record_by_the_names_of_the_settings() {
    let fields = [("text", "body.de"), ("domain", "meta.rechtsgebiet"), ("id", "nr"), ("licence", "lizenz")];
    let document = object(json!({
        "nr": 7, "body": {"de": "Text", "en": "text"}, "meta": {"rechtsgebiet": "baurecht", "behoerde": "Bauamt"},
        "lizenz": "CC0", "title": "§ 35", "tags": ["a"], "score": 1.5, "empty": null,
    }));
    let record = Mapping::new(&settings(&fields)).unwrap().record("d1", &document).unwrap();
    let expected = json!({
        "id": "7", "text": "Text", "domain": "baurecht", "license": "CC0", "title": "§ 35",
        "body.en": "text", "meta.behoerde": "Bauamt",
    });
    assert_eq!(Value::Object(record), expected);
}

#[test]
fn named_metadata_takes_the_place_of_all_texts() {
    let mut settings = settings(&[]);
    settings.metadata = vec!["tags".into(), "meta.year".into(), "absent".into()];
    let document =
        object(json!({"content": "Text", "title": "T", "tags": ["a", "b"], "meta": {"year": 2021}}));
    let record = Mapping::new(&settings).unwrap().record("d1", &document).unwrap();
    assert_eq!(
        Value::Object(record),
        json!({"id": "d1", "text": "Text", "tags": "a, b", "meta.year": "2021"})
    );
}

#[test]
fn a_document_without_text_names_its_fields_and_not_its_values() {
    let problem = Mapping::new(&settings(&[]))
        .unwrap()
        .record("d1", &object(json!({"inhalt": "geheim", "content": null})))
        .unwrap_err();
    assert!(problem.contains("`inhalt`") && problem.contains("`content`"), "{problem}");
    assert!(!problem.contains("geheim"), "{problem}");
}

#[test]
fn settings_without_a_use_are_refused_with_their_name() {
    let unknown = refused(settings(&[("titel", "title")]));
    assert!(unknown.contains("`titel`") && unknown.contains("[sources.gesetze].fields"), "{unknown}");
    let tenant = refused(RemoteSettings { tenant: Some("t".into()), ..settings(&[]) });
    assert!(tenant.contains("[sources.gesetze].tenant"), "{tenant}");
    let no_table = refused(RemoteSettings { table: None, fields: BTreeMap::new(), ..settings(&[]) });
    assert!(no_table.contains("[sources.gesetze].table"), "{no_table}");
}

#[test]
fn hashes_survive_a_checkpoint() {
    let mut seen = Seen::default();
    seen.extend([1, u64::MAX, 77].into_iter());
    let value = serde_json::to_value(&seen).unwrap();
    assert_eq!(value, json!("0000000000000001000000000000004dffffffffffffffff"));
    assert_eq!(serde_json::from_value::<Seen>(value).unwrap(), seen);
    assert!(serde_json::from_value::<Seen>(json!("12ä")).is_err());
}

#[test]
fn a_cursor_counts_in_keys_that_a_checkpoint_must_have() {
    let keys = ["a".to_owned(), "b".to_owned()];
    let cursor = Cursor { at: At::Keys { read: 1, gone: 0 }, sequence: Some(7), left: None };
    let value = cursor.value().unwrap();
    assert_eq!(value["at"], json!({"keys": {"read": 1, "gone": 0}}));
    assert_eq!(Cursor::read(value.clone(), &keys).unwrap(), cursor);
    let lost = Cursor::read(value, &[]).unwrap_err();
    assert!(lost.contains("behind 1 of 0 keys") && lost.contains("submit the job anew"), "{lost}");
}
