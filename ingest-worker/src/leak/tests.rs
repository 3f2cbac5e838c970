//! What counts as a golden sample in the training data.

use std::path::Path;

use clara_lifecycle::spec::IngestOptions;

use super::{Leak, LeakReport, find_leaks};
use crate::ingest::GoldenText;

const OUTPUT: &str = "Nach § 35 Abs. 1 Nr. 8 BauGB ist sie privilegiert, wenn sie längs von Autobahnen steht und der \
                      Abstand zur Fahrbahn höchstens zweihundert Meter beträgt.";
const OTHER: &str = "Der Widerspruch ist innerhalb eines Monats nach Bekanntgabe schriftlich oder zur Niederschrift zu \
                     erheben.";

fn samples() -> Vec<GoldenText> {
    let sample = |id: &str, prompt: &str, output: &str| GoldenText {
        sample_id: id.into(),
        prompt: prompt.into(),
        expected_output: output.into(),
    };
    vec![
        sample("s-1", "Wann ist eine Photovoltaikanlage im Außenbereich privilegiert?", OUTPUT),
        sample("s-2", "Bis wann ist Widerspruch zu erheben?", OTHER),
        sample("s-3", "Wer stellt den Bebauungsplan auf?", "Das tut die Gemeinde in eigener Verantwortung."),
    ]
}

fn report(folder: &Path) -> LeakReport {
    let source = folder.to_string_lossy().into_owned();
    find_leaks(&[source], &samples(), &IngestOptions::default()).unwrap()
}

#[test]
fn one_document_may_hold_several_samples_and_the_worst_place_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let half: String = OUTPUT.split_whitespace().take(14).collect::<Vec<_>>().join(" ");
    let lines = [
        format!(r#"{{"text": "{half}"}}"#),
        "no document".to_owned(),
        format!(r#"{{"text": "Zuerst: {OUTPUT} Danach: {OTHER}"}}"#),
        r#"{"text": "Die Gebühren richten sich nach der Satzung der Gemeinde."}"#.to_owned(),
    ];
    std::fs::write(folder.path().join("law.jsonl"), lines.join("\n")).unwrap();
    let LeakReport { documents, broken, leaks } = report(folder.path());
    assert_eq!((documents, broken), (3, 1));
    let [first, second] = leaks.as_slice() else { panic!("{leaks:?}") };
    assert_eq!((first.sample_id.as_str(), first.documents), ("s-1", 2));
    assert!(first.origin.ends_with("law.jsonl:3") && (first.share - 1.0).abs() < 1e-9, "{first:?}");
    assert_eq!((second.sample_id.as_str(), second.documents), ("s-2", 1));
}

#[test]
fn a_dataset_that_ingest_wrote_is_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(r#"{{"document_id": "d-1", "prompt": "Wann?", "completion": "{OTHER}"}}"#);
    std::fs::write(folder.path().join("train.jsonl"), line).unwrap();
    let found: Vec<Leak> = report(folder.path()).leaks;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].sample_id, "s-2");
}

#[test]
fn missing_training_data_is_an_error() {
    let missing = find_leaks(&["/no/such/folder".to_owned()], &samples(), &IngestOptions::default());
    assert!(missing.is_err());
}
