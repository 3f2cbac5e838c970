//! Figures, findings and differences of small datasets.

use std::{fs, path::Path};

use clara_lifecycle::{digest::Digest, golden::Severity};
use serde_json::{Value, json};

use super::*;
use crate::ingest::GoldenText;

/// A dataset with these lines; its manifest says what `change` makes of it.
fn dataset(train: &[Value], validation: &[Value], change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, lines: &[Value]| {
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<Vec<_>>().concat();
        fs::write(folder.path().join(name), &text).unwrap();
        Digest::of(text.as_bytes())
    };
    let (train_digest, validation_digest) = (write(TRAIN, train), write(VALIDATION, validation));
    let digest = Digest::of(b"x");
    let mut manifest = json!({
        "format": 1, "domain": "law", "query": null, "sources": ["law.jsonl"], "source_digest": digest,
        "source_files": [{ "name": "law.jsonl", "size_bytes": 9, "digest": digest }], "skipped_files": [],
        "most_relevant": [], "documents_read": 10, "documents_kept": 10, "dropped": {}, "validation_documents": 1,
        "train_records": train.len(), "validation_records": validation.len(),
        "train_digest": train_digest, "validation_digest": validation_digest, "options": { "sources": ["law.jsonl"] },
        "golden_overlap": {
            "golden_dataset": "g@1.0.0", "golden_digest": digest, "ngram_words": 8, "limit": 0.2, "removed": [],
        },
    });
    change(&mut manifest);
    write_dropped(
        folder.path(),
        manifest["dropped"].as_object().unwrap().values().filter_map(Value::as_u64).sum(),
    );
    fs::write(folder.path().join(MANIFEST), manifest.to_string()).unwrap();
    folder
}

/// A list of so many documents that were left out.
fn write_dropped(folder: &Path, count: u64) {
    let line = |number: u64| {
        format!(
            "{{\"document_id\":\"d{number}\",\"origin\":\"law.jsonl:1\",\"reason\":\"too_short\",\"detail\":\"\"}}\n"
        )
    };
    let lines = (0..count).map(line).collect::<Vec<_>>().concat();
    fs::write(folder.join(DROPPED[0]), zstd::encode_all(lines.as_bytes(), 3).unwrap()).unwrap();
}

fn text(id: &str, text: &str) -> Value {
    json!({ "document_id": id, "text": text })
}

fn many() -> Vec<Value> {
    (0..120)
        .map(|number| text(&format!("d{number}"), &format!("Der Antrag Nummer {number} ist schriftlich.")))
        .collect()
}

fn codes(folder: &Path, golden: &[GoldenText]) -> Vec<(Severity, String, u64)> {
    let found = lint(folder, &LintOptions { golden, long_chars: 8_000 }).unwrap();
    found.iter().map(|finding| (finding.severity, finding.code.to_string(), finding.count)).collect()
}

#[test]
fn a_sound_dataset_has_no_findings() {
    let folder = dataset(&many(), &[text("v", "Die Frist beträgt einen Monat.")], |_| {});
    assert_eq!(codes(folder.path(), &[]), []);
}

#[test]
fn each_fault_is_found_and_errors_come_first() {
    let mut train = many();
    train.push(json!({ "document_id": "e", "prompt": "Frage", "completion": "  " }));
    train.push(text("twice", "DER ANTRAG  Nummer 7 ist schriftlich."));
    train.push(text("long", &"Wort ".repeat(2_000)));
    train.push(text("chunked#1", "Ein Teil."));
    let validation =
        [text("chunked#2", "Ein anderer Teil."), text("copy", "Der Antrag Nummer 3 ist schriftlich.")];
    let folder = dataset(&train, &validation, |manifest| {
        manifest["golden_overlap"] = Value::Null;
        manifest["documents_read"] = json!(1_000);
        manifest["dropped"] = json!({ "too_short": 990 });
        let digest = Digest::of(b"y");
        manifest["source_files"] = json!([
            { "name": "a", "size_bytes": 990, "digest": digest }, { "name": "b", "size_bytes": 10, "digest": digest },
        ]);
    });
    let found = codes(folder.path(), &[]);
    let expected = [
        (Severity::Error, "empty_output", 1),
        (Severity::Error, "split_overlap", 2),
        (Severity::Warning, "duplicate_record", 1),
        (Severity::Warning, "golden_not_compared", 0),
        (Severity::Warning, "long_record", 1),
        (Severity::Warning, "unbalanced_sources", 1),
        (Severity::Warning, "few_kept", 10),
    ];
    assert_eq!(found, expected.map(|(severity, code, count)| (severity, code.to_owned(), count)));
}

#[test]
fn files_that_are_not_those_of_the_manifest_are_named_even_when_they_cannot_be_understood() {
    let folder = dataset(&many(), &[text("v", "Die Frist beträgt einen Monat.")], |_| {});
    fs::write(folder.path().join(TRAIN), "half a li").unwrap();
    fs::remove_file(folder.path().join(VALIDATION)).unwrap();
    let found = lint(folder.path(), &LintOptions { golden: &[], long_chars: 8_000 }).unwrap();
    let messages: Vec<_> = found.iter().map(|finding| finding.message.as_str()).collect();
    assert!(found.iter().all(|finding| finding.code == DatasetFindingCode::Damaged), "{found:?}");
    assert!(messages[0].starts_with("train.jsonl has digest"), "{messages:?}");
    assert!(messages[1].starts_with("validation.jsonl is missing"), "{messages:?}");
}

#[test]
fn damage_of_the_list_of_what_was_left_out_and_of_the_counts_is_found() {
    let folder = dataset(&many(), &[], |manifest| manifest["dropped"] = json!({ "too_short": 100 }));
    let found = || {
        let manifest = manifest(folder.path()).unwrap();
        let found = damage(folder.path(), &manifest).unwrap();
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(found(), "");
    let path = folder.path().join(DROPPED[0]);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(found().starts_with("dropped.jsonl.zst cannot be read to its end"), "{}", found());
    write_dropped(folder.path(), 99);
    assert!(found().starts_with("dropped.jsonl.zst has 99 lines, expected 100"), "{}", found());
    fs::remove_file(&path).unwrap();
    assert_eq!(found(), "dropped.jsonl.zst is missing");
    let miscounted = dataset(&many(), &[], |manifest| manifest["train_records"] = json!(121));
    let found = lint(miscounted.path(), &LintOptions { golden: &[], long_chars: 8_000 }).unwrap();
    assert!(found[0].message.starts_with("train.jsonl has 120 lines, expected 121"), "{found:?}");
}

#[test]
fn content_that_cannot_be_understood_is_called_damaged_and_a_missing_file_is_not() {
    let folder = dataset(&many(), &[], |_| {});
    for content in ["{\"text\": \"no id\"}\n", "{\"document_id\"", "no JSON\n"] {
        fs::write(folder.path().join(TRAIN), content).unwrap();
        let error = records(folder.path(), TRAIN).unwrap().next().unwrap().unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains("clara data lint"), "{error}");
    }
    fs::remove_file(folder.path().join(TRAIN)).unwrap();
    let error = records(folder.path(), TRAIN).unwrap_err().to_string();
    assert!(error.contains("check that the file is there"), "{error}");
}

#[test]
fn golden_samples_in_the_records_are_found_whatever_the_manifest_says() {
    let answer = "Vorhaben im Außenbereich sind nur zulässig, wenn öffentliche Belange nicht entgegenstehen.";
    let mut train = many();
    train.push(text("leak", &format!("Es gilt: {answer}")));
    let folder = dataset(&train, &[text("v", "Die Frist beträgt einen Monat.")], |_| {});
    let golden = [GoldenText {
        sample_id: "s1".to_owned(),
        prompt: "Wann ist ein Vorhaben im Außenbereich zulässig?".to_owned(),
        expected_output: answer.to_owned(),
    }];
    assert_eq!(codes(folder.path(), &golden), [(Severity::Error, "golden_overlap".to_owned(), 1)]);
}

#[test]
fn too_few_records_and_none_held_out_are_told() {
    let folder = dataset(&[text("a", "Ein Satz.")], &[], |_| {});
    let expected = [
        (Severity::Warning, "few_records".to_owned(), 1),
        (Severity::Warning, "no_validation".to_owned(), 0),
    ];
    assert_eq!(codes(folder.path(), &[]), expected);
    let empty = dataset(&[], &[], |_| {});
    assert_eq!(codes(empty.path(), &[])[0].1, "no_records");
}

#[test]
fn files_that_were_not_read_are_told_and_the_first_five_named() {
    let skipped: Vec<_> = (1..=7).map(|number| format!("{number}.docx")).collect();
    let folder = dataset(&many(), &[text("v", "Die Frist beträgt einen Monat.")], |manifest| {
        manifest["skipped_files"] = json!(skipped);
    });
    assert_eq!(codes(folder.path(), &[]), [(Severity::Warning, "not_read".to_owned(), 7)]);
    let told = not_read(&manifest(folder.path()).unwrap()).unwrap();
    let expected = "7 files of other kinds or splits: 1.docx, 2.docx, 3.docx, 4.docx, 5.docx and 2 more";
    assert_eq!(told, expected);
}

#[test]
fn documents_are_added_removed_changed_and_moved() {
    let from = dataset(
        &[text("a", "eins"), text("b#1", "zwei"), text("b#2", "drei"), text("c", "vier")],
        &[text("gone", "fünf")],
        |_| {},
    );
    let to = dataset(
        &[text("a", "eins"), text("b#1", "zwei"), text("b#2", "anders"), text("new", "sechs")],
        &[text("c", "vier")],
        |manifest| {
            manifest["options"] = json!({ "sources": ["law.jsonl"], "min_chars": 7 });
            manifest["source_files"][0]["digest"] = json!(Digest::of(b"changed"));
        },
    );
    let found = difference(from.path(), to.path()).unwrap();
    let names = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(found.added, names(&["new"]));
    assert_eq!(found.removed, names(&["gone"]));
    assert_eq!(found.changed, names(&["b"]));
    assert_eq!(found.moved, names(&["c"]));
    assert_eq!(found.same, 2);
    assert_eq!(
        (found.source_files_added, found.source_files_removed),
        (names(&["law.jsonl"]), names(&["law.jsonl"]))
    );
    let change = OptionChange {
        name: "ingest.min_chars".to_owned(),
        before: Some("40".to_owned()),
        after: Some("7".to_owned()),
    };
    assert_eq!(found.options, [change]);
}

#[test]
fn figures_count_records_documents_and_languages() {
    let german = "Die Baugenehmigung wird von der unteren Bauaufsichtsbehörde schriftlich erteilt, wenn dem Vorhaben keine \
                  öffentlich-rechtlichen Vorschriften entgegenstehen.";
    let english = "The building permit is granted in writing by the authority whenever no public law provisions stand \
                   against the project that was applied for.";
    let folder = dataset(
        &[text("a#1", german), text("a#2", german), text("b", english)],
        &[text("c", german)],
        |_| {},
    );
    let figures = statistics(folder.path()).unwrap();
    assert_eq!((figures.records, figures.documents), (4, 3));
    assert_eq!(figures.languages, [("de".to_owned(), 3), ("en".to_owned(), 1)].into());
    assert_eq!(figures.kinds, [("running text", 4)].into());
    let longest = u32::try_from(german.chars().count().max(english.chars().count())).unwrap();
    assert_eq!(figures.record_chars[3], longest);
}

#[test]
fn what_was_left_out_is_read_packed_and_plain() {
    let line = r#"{"document_id":"a","origin":"law.jsonl:1","reason":"duplicate","detail":"as b"}"#;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(DROPPED[1]), format!("{line}\n")).unwrap();
    let plain: Vec<_> = dropped(folder.path()).unwrap().collect::<Result<_, _>>().unwrap();
    fs::write(folder.path().join(DROPPED[0]), zstd::encode_all(format!("{line}\n").as_bytes(), 3).unwrap())
        .unwrap();
    fs::write(folder.path().join(DROPPED[1]), "no JSON").unwrap();
    let packed: Vec<_> = dropped(folder.path()).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(plain, packed);
    assert_eq!(plain[0].document_id, "a");
}

#[test]
fn only_a_number_after_the_last_hash_names_a_part() {
    assert_eq!(document_of("vwvfg#12"), "vwvfg");
    assert_eq!(document_of("C#"), "C#");
    assert_eq!(document_of("a#b"), "a#b");
}
