//! What is copied of earlier datasets, and what is not.

use std::{fs, sync::Arc};

use clara_lifecycle::digest::Digest;
use serde_json::json;

use super::*;

/// A store with a dataset that has signatures and one that has none; the one with signatures is the newest.
async fn family() -> (ArtifactStore, EarlierDatasets) {
    let artifacts = ArtifactStore::new(Arc::new(object_store::memory::InMemory::new()));
    let digest = Digest::of(b"x");
    let manifest = json!({
        "format": 1, "domain": "law", "query": null, "sources": ["@gesetze", "@alt", "law.jsonl"],
        "source_digest": digest, "source_files": [], "skipped_files": [], "most_relevant": [], "documents_read": 1,
        "documents_kept": 1, "dropped": {}, "validation_documents": 0, "train_records": 1, "validation_records": 0,
        "train_digest": digest, "validation_digest": digest, "golden_overlap": null,
        "remote_sources": [
            { "source": "@gesetze", "fetched": 1, "broken": 0, "repeated": 0, "state": { "sequence": 41 } },
            { "source": "@alt", "fetched": 1, "broken": 0, "repeated": 0, "state": null },
        ],
    });
    let mut family = Vec::new();
    for (name, has_signatures) in [("new", true), ("old", false)] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("manifest.json"), manifest.to_string()).unwrap();
        if has_signatures {
            fs::write(folder.path().join(SIGNATURES_FILE), name).unwrap();
        }
        family.push(artifacts.put_folder(&format!("jobs/{name}/dataset"), folder.path()).await.unwrap());
    }
    (artifacts, EarlierDatasets { same_options: Vec::new(), family })
}

fn options(skip_known: bool, since_last: bool) -> IngestOptions {
    let mut options = IngestOptions { since_last, ..IngestOptions::default() };
    options.clean.skip_known = skip_known;
    options
}

#[tokio::test]
async fn signatures_are_copied_where_a_dataset_has_them() {
    let (artifacts, earlier) = family().await;
    let folder = tempfile::tempdir().unwrap();
    let found = fetch(&artifacts, &earlier, &options(true, false), folder.path()).await.unwrap();
    assert_eq!(found.known.len(), 1);
    assert_eq!(fs::read_to_string(&found.known[0]).unwrap(), "new");
    assert_eq!(found.since, BTreeMap::new());
}

#[tokio::test]
async fn states_are_those_of_the_newest_dataset_and_of_sources_that_can_tell() {
    let (artifacts, earlier) = family().await;
    let folder = tempfile::tempdir().unwrap();
    let found = fetch(&artifacts, &earlier, &options(false, true), folder.path()).await.unwrap();
    assert_eq!(found.since, BTreeMap::from([("@gesetze".to_owned(), json!({ "sequence": 41 }))]));
    assert_eq!(found.known, Vec::<PathBuf>::new());
}

#[tokio::test]
async fn nothing_is_copied_for_who_asks_for_nothing() {
    let (artifacts, earlier) = family().await;
    let folder = tempfile::tempdir().unwrap();
    let found = fetch(&artifacts, &earlier, &options(false, false), folder.path()).await.unwrap();
    assert_eq!(found, Earlier::default());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_dataset_whose_files_are_gone_is_an_error_and_no_empty_memory() {
    let (artifacts, earlier) = family().await;
    artifacts.remove("jobs/new/dataset/signatures.bin").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let failure = fetch(&artifacts, &earlier, &options(true, false), folder.path()).await.unwrap_err();
    assert!(failure.to_string().contains("signatures.bin"), "{failure}");
}
