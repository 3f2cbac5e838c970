//! Which files make up a source.

use std::{fs, path::Path};

use clara_lifecycle::spec::FieldNames;

use super::Found;
use crate::error::IngestError;

fn discover(sources: &[String]) -> Result<Found, IngestError> {
    super::discover(sources, &FieldNames::default())
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn source(path: &Path) -> Vec<String> {
    vec![path.to_str().unwrap().to_owned()]
}

#[test]
fn a_folder_is_read_recursively_sorted_and_without_hidden_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.txt", "a/z.MD", "a/b.jsonl", ".git/config.txt", ".hidden.md", "bild.png"] {
        write(folder.path(), name, "Text");
    }
    let found = discover(&source(folder.path())).unwrap();
    let names: Vec<_> = found.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["a/b.jsonl", "a/z.MD", "b.txt"]);
    assert_eq!(found.skipped, ["bild.png"]);
}

#[test]
fn a_missing_source_is_named() {
    let error = discover(&["does/not/exist.jsonl".into()]).unwrap_err();
    assert!(matches!(error, IngestError::MissingSource { .. }));
    assert!(error.to_string().contains("does/not/exist.jsonl"));
}

#[test]
fn a_file_of_an_unknown_kind_is_refused_with_the_known_ones() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "law.pdf", "%PDF");
    let message = discover(&source(&folder.path().join("law.pdf"))).unwrap_err().to_string();
    assert!(message.contains("`pdf`") && message.contains(".jsonl"), "{message}");
}

#[test]
fn sources_without_a_byte_to_read_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(discover(&source(folder.path())), Err(IngestError::NoDocuments { skipped: 0, .. })));
    write(folder.path(), "empty.jsonl", "");
    write(folder.path(), "bild.png", "x");
    assert!(matches!(discover(&source(folder.path())), Err(IngestError::NoDocuments { skipped: 1, .. })));
    assert!(matches!(discover(&[]), Err(IngestError::NoDocuments { .. })));
}
