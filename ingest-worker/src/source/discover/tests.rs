//! Which files make up a source.

use std::{fs, path::Path};

use clara_lifecycle::{digest::Digest, spec::FieldNames};
use serde_json::json;

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
    write(folder.path(), "law.docx", "PK");
    let message = discover(&source(&folder.path().join("law.docx"))).unwrap_err().to_string();
    assert!(message.contains("`docx`") && message.contains(".jsonl"), "{message}");
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

fn names(found: &Found) -> Vec<&str> {
    found.files.iter().map(|file| file.name.as_str()).collect()
}

#[test]
fn a_pattern_finds_files_sorted_and_named_below_its_fixed_folder() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["laws/b.xml", "laws/a/c.xml", "laws/a/c.md", "laws/.x/d.xml", "laws/.e.xml", "other/f.xml"] {
        write(folder.path(), name, "Text");
    }
    let found = discover(&source(&folder.path().join("laws/**/*.xml"))).unwrap();
    assert_eq!(names(&found), ["a/c.xml", "b.xml"]);
    let found = discover(&source(&folder.path().join("*/[bf].xml"))).unwrap();
    assert_eq!(names(&found), ["laws/b.xml", "other/f.xml"]);
}

#[test]
fn a_folder_that_a_pattern_matches_is_read_and_no_file_twice() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["laws/a/b/c.txt", "laws/d.txt", "laws/bild.png"] {
        write(folder.path(), name, "Text");
    }
    for pattern in ["laws/*", "laws/**/*"] {
        let found = discover(&source(&folder.path().join(pattern))).unwrap();
        assert_eq!(names(&found), ["a/b/c.txt", "d.txt"], "{pattern}");
        assert_eq!(found.skipped, ["bild.png"]);
    }
}

#[test]
fn a_pattern_without_a_match_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let error = discover(&source(&folder.path().join("**/*.xml"))).unwrap_err();
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("**/*.xml matches no file"), "{error}");
    let error = discover(&["laws/***.xml".into()]).unwrap_err();
    assert!(matches!(error, IngestError::Options { .. }), "{error}");
}

#[test]
fn a_file_whose_name_looks_like_a_pattern_is_read() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "law[1].txt", "Text");
    assert_eq!(names(&discover(&source(&folder.path().join("law[1].txt"))).unwrap()), ["law[1].txt"]);
}

#[test]
fn of_a_dataset_on_disk_only_the_training_split_is_read_unless_another_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("laws");
    write(&root, "dataset_dict.json", r#"{"splits": ["test", "train"]}"#);
    for split in ["test", "train"] {
        let shards = r#"{"_data_files": [{"filename": "data-00001.arrow"}, {"filename": "data-00000.arrow"}], "_split": "x"}"#;
        write(&root, &format!("{split}/state.json"), shards);
        for file in ["dataset_info.json", "data-00000.arrow", "data-00001.arrow", "cache-1f.arrow"] {
            write(&root, &format!("{split}/{file}"), "x");
        }
    }
    let found = discover(&source(folder.path())).unwrap();
    let expected = ["laws/train/data-00001.arrow", "laws/train/data-00000.arrow"];
    assert_eq!(names(&found), expected, "in the order of the dataset");
    assert_eq!(found.skipped, ["laws/test"]);
    let found = discover(&source(&root.join("test"))).unwrap();
    assert_eq!(names(&found), ["data-00001.arrow", "data-00000.arrow"]);
}

#[test]
fn of_a_dataset_of_the_hub_only_the_training_shards_are_read_unless_others_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "README.md",
        "data/train-00001-of-00002.parquet",
        "data/train-00000-of-00002.parquet",
        "data/test-00000-of-00001.parquet",
    ] {
        write(folder.path(), name, "x");
    }
    let found = discover(&source(folder.path())).unwrap();
    assert_eq!(names(&found), ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]);
    assert_eq!(found.skipped, ["README.md", "data/test-00000-of-00001.parquet"]);
    let found = discover(&source(&folder.path().join("data/test-*.parquet"))).unwrap();
    assert_eq!(names(&found), ["test-00000-of-00001.parquet"]);
}

#[test]
fn files_that_are_no_part_of_the_dataset_around_them_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "hub/train-00000-of-00001.parquet",
        "hub/mehr/laws.jsonl",
        "hub/mehr/bild.png",
        "hub/.cache/x.txt",
        "disk/a.arrow",
        "disk/cache-1f.arrow",
        "disk/dataset_info.json",
        "disk/notes/laws.md",
    ] {
        write(folder.path(), name, "x");
    }
    write(folder.path(), "disk/state.json", r#"{"_data_files": [{"filename": "a.arrow"}]}"#);
    let found = discover(&source(folder.path())).unwrap();
    assert_eq!(names(&found), ["disk/a.arrow", "hub/train-00000-of-00001.parquet"]);
    assert_eq!(found.skipped, ["disk/notes/laws.md", "hub/mehr/bild.png", "hub/mehr/laws.jsonl"]);
}

#[test]
fn of_a_dataset_of_clara_only_the_records_to_train_on_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let digest = Digest::of(b"x");
    let manifest = json!({
        "format": 1, "domain": "law", "query": null, "sources": ["law.jsonl"], "source_digest": digest,
        "source_files": [], "skipped_files": [], "most_relevant": [], "documents_read": 2, "documents_kept": 2,
        "dropped": {}, "validation_documents": 1, "train_records": 1, "validation_records": 1, "train_digest": digest,
        "validation_digest": digest, "golden_overlap": null,
    });
    write(folder.path(), "made/manifest.json", &manifest.to_string());
    write(folder.path(), "notes/manifest.json", r#"{"text": "A manifest of something else."}"#);
    for name in ["made/card.md", "made/train.jsonl", "made/validation.jsonl", "notes/train.jsonl"] {
        write(folder.path(), name, "x");
    }
    let found = discover(&source(folder.path())).unwrap();
    assert_eq!(names(&found), ["made/train.jsonl", "notes/manifest.json", "notes/train.jsonl"]);
    assert_eq!(found.skipped, ["made/card.md", "made/manifest.json", "made/validation.jsonl"]);
    fs::remove_file(folder.path().join("made/train.jsonl")).unwrap();
    let error = discover(&source(folder.path())).unwrap_err().to_string();
    assert!(error.contains("its `train.jsonl` is missing"), "{error}");
}

#[test]
fn a_dataset_of_several_splits_without_a_training_split_asks_for_one() {
    let folder = tempfile::tempdir().unwrap();
    for split in ["de", "fr"] {
        write(folder.path(), &format!("laws-{split}-00000-of-00001.arrow"), "x");
    }
    let error = discover(&source(folder.path())).unwrap_err();
    assert!(error.to_string().contains("has the splits de, fr and none named `train`"), "{error}");
    fs::remove_file(folder.path().join("laws-fr-00000-of-00001.arrow")).unwrap();
    assert_eq!(names(&discover(&source(folder.path())).unwrap()), ["laws-de-00000-of-00001.arrow"]);
}

#[test]
fn a_dataset_cannot_name_files_outside_of_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "secret.txt", "x");
    for name in ["../secret.txt", "/etc/hosts.txt", "..", "a/../../secret.txt", ""] {
        write(folder.path(), "laws/state.json", &format!(r#"{{"_data_files": [{{"filename": "{name}"}}]}}"#));
        let error = discover(&source(&folder.path().join("laws"))).unwrap_err();
        assert!(error.to_string().contains("expected the name of a file beside it"), "{name}: {error}");
    }
}
