//! Words about a manifest.

use clara_lifecycle::dataset::MendCount;
use serde_json::json;

use super::*;

fn manifest() -> DatasetManifest {
    let digest = Digest::of(b"x");
    serde_json::from_value(json!({
        "format": 1, "domain": "law", "query": null, "sources": ["law.jsonl"], "source_digest": digest,
        "source_files": [], "skipped_files": [], "most_relevant": [], "documents_read": 3, "documents_kept": 3,
        "dropped": {}, "validation_documents": 0, "train_records": 3, "validation_records": 0,
        "train_digest": digest, "validation_digest": digest, "golden_overlap": null,
        "options": options(),
    }))
    .unwrap()
}

fn options() -> IngestOptions {
    IngestOptions { sources: vec!["law.jsonl".to_owned()], ..IngestOptions::default() }
}

#[test]
fn what_was_masked_is_told_apart_from_what_was_mended() {
    let mut manifest = manifest();
    assert_eq!(mended(&manifest), vec![]);
    let count = |places| MendCount { documents: 1, places };
    manifest.mended =
        [(Mend::Blanks, count(7)), (Mend::Email, count(2)), (Mend::Iban, count(1)), (Mend::Phone, count(0))]
            .into();
    let expected = [("mended", "blanks 7".to_owned()), ("masked", "e-mail address 2, IBAN 1".to_owned())];
    assert_eq!(mended(&manifest), expected);
}

#[test]
fn another_dataset_is_told_by_what_differs() {
    let (manifest, domain) = (manifest(), "law".parse().unwrap());
    let same = Asked { options: &options(), domain: &domain, golden: None };
    assert!(difference(&manifest, same).starts_with("the source files"));
    let asked =
        IngestOptions { query: Some("Bau".to_owned()), sources: vec!["b.jsonl".to_owned()], ..options() };
    let told = difference(&manifest, Asked { options: &asked, domain: &domain, golden: None });
    assert!(told.contains("its sources are law.jsonl") && told.contains("ingest.query"), "{told}");
    let golden = Digest::of(b"golden");
    let told = difference(&manifest, Asked { golden: Some(&golden), ..same });
    assert_eq!(told, "its golden dataset is none");
}
