//! Files of documents that grow, are cut and go on.

use std::fs;

use clara_lifecycle::digest::Digest;
use serde_json::json;

use super::Spool;
use crate::{
    error::IngestError,
    fetch::{Fetched, Page, SavedSource},
};

fn page(at: u64, ids: &[&str]) -> Page {
    let record = |id: &&str| {
        let serde_json::Value::Object(record) = json!({ "id": id, "text": "Der Bauantrag." }) else {
            panic!()
        };
        Fetched::Record(record)
    };
    Page { documents: ids.iter().map(record).collect(), cursor: json!(at), keys: None, total: None }
}

fn source() -> SavedSource {
    SavedSource::new("@gesetze", Digest::of(b"request"))
}

#[test]
fn what_was_not_saved_is_cut_off_and_can_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), source()).unwrap();
    assert_eq!(spool.append(page(1, &["a", "b", "a"])).unwrap(), 2);
    let saved = spool.sync().unwrap().clone();
    assert_eq!((saved.fetched, saved.repeated, saved.cursor.clone()), (2, 1, Some(json!(1))));
    assert_eq!(spool.append(page(2, &["c"])).unwrap(), 1);
    spool.sync().unwrap();
    drop(spool);
    let mut spool = Spool::open(folder.path(), saved.clone()).unwrap();
    assert_eq!(spool.append(page(2, &["b", "c", "d"])).unwrap(), 2);
    spool.sync().unwrap();
    let text = fs::read_to_string(folder.path().join(&saved.files[0].path)).unwrap();
    let ids: Vec<_> = text.lines().map(|line| line.split('"').nth(3).unwrap()).collect();
    assert_eq!(ids, ["a", "b", "c", "d"]);
}

#[test]
fn a_broken_document_and_one_that_is_too_long_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), source()).unwrap();
    let mut given = page(1, &["a"]);
    given.documents.push(Fetched::Broken { id: "b".into(), problem: "no JSON".into() });
    let serde_json::Value::Object(long) = json!({ "id": "c", "text": "x".repeat(65 << 20) }) else {
        panic!()
    };
    given.documents.push(Fetched::Record(long));
    assert_eq!(spool.append(given).unwrap(), 3);
    let saved = spool.sync().unwrap().clone();
    assert_eq!((saved.fetched, saved.broken), (3, 2));
    assert!(saved.files[0].bytes < 1000, "{saved:?}");
    let mut spool = Spool::open(folder.path(), saved).unwrap();
    let again = Fetched::Broken { id: "b".into(), problem: "no JSON".into() };
    let given = Page { documents: vec![again], ..page(2, &["c"]) };
    assert_eq!(spool.append(given).unwrap(), 0, "broken documents are taken once, too");
}

#[test]
fn a_file_that_is_shorter_than_what_was_saved_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), source()).unwrap();
    spool.append(page(1, &["a"])).unwrap();
    let saved = spool.sync().unwrap().clone();
    drop(spool);
    fs::write(folder.path().join(&saved.files[0].path), "{}").unwrap();
    assert!(!saved.is_there(folder.path()));
    let refused = Spool::open(folder.path(), saved).unwrap_err();
    assert!(refused.to_string().contains("were saved"), "{refused}");
}

#[test]
fn a_full_disk_is_a_failure_that_names_the_file_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let source = source();
    let below = folder.path().join(source.folder());
    fs::create_dir_all(&below).unwrap();
    std::os::unix::fs::symlink("/dev/full", below.join("documents.jsonl")).unwrap();
    let mut spool = Spool::open(folder.path(), source).unwrap();
    let ids: Vec<String> = (0..1000).map(|number| format!("doc-{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let full = spool.append(page(1, &ids)).and_then(|_| spool.sync().map(drop)).unwrap_err();
    assert!(full.is_retryable());
    assert!(matches!(&full, IngestError::Write { .. }), "{full:?}");
    let below = below.to_string_lossy();
    assert!(full.to_string().contains(below.as_ref()) && full.to_string().contains("free space"), "{full}");
}
