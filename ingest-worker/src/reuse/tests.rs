//! When a stored dataset is taken, and when it is made anew.

use std::{fs, path::PathBuf};

use clara_lifecycle::{artifact::ArtifactRef, id::Domain, spec::RerankOptions};
use clara_runtime::stop::StopReason;

use super::*;
use crate::ingest::GoldenTexts;

/// Asks to stop, or does not.
struct Watch(Option<StopReason>);

impl IngestObserver for Watch {
    fn documents(&self, _: u64, _: Option<u64>) {}

    fn stop(&self) -> Option<StopReason> {
        self.0
    }
}

/// Sources in a folder, and a request for them.
struct Bench {
    folder: tempfile::TempDir,
    options: IngestOptions,
    domain: Domain,
    golden: Option<GoldenTexts>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("law.jsonl");
        fs::write(&source, "{\"id\":\"a\",\"text\":\"Der Bauantrag ist schriftlich einzureichen.\"}\n")
            .unwrap();
        let options =
            IngestOptions { sources: vec![source.to_str().unwrap().to_owned()], ..IngestOptions::default() };
        Self { folder, options, domain: "law".parse().unwrap(), golden: None }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("law.jsonl")
    }

    fn with<T>(&self, work: impl FnOnce(&IngestRequest<'_>) -> T) -> T {
        let (out, scratch) = (self.folder.path().join("out"), self.folder.path().join("scratch"));
        work(&IngestRequest {
            options: &self.options,
            domain: &self.domain,
            golden: self.golden.as_ref(),
            known: &[],
            base_model: None,
            collected: &crate::fetch::Collected::default(),
            out: &out,
            scratch: &scratch,
        })
    }

    /// A dataset as if it had been made from the sources as they are now.
    fn stored(&self) -> StoredDataset {
        let (size_bytes, digest) = file_digest(&self.path(), &Watch(None)).unwrap();
        let entries = [SourceFileEntry { name: "law.jsonl".to_owned(), size_bytes, digest }];
        let result = DatasetResult {
            dataset: ArtifactRef { prefix: "jobs/job-1/ingest/a".to_owned(), files: Vec::new() },
            documents_read: 1,
            documents_kept: 1,
            dropped: [].into(),
            train_records: 1,
            validation_records: 0,
            source_digest: Digest::of(b"source"),
            key: Some(self.with(|request| dataset_key(request, &entries))),
            reused_from: None,
        };
        StoredDataset { job: "job-1".parse().unwrap(), result }
    }

    fn finds(&self, stored: &StoredDataset) -> bool {
        let candidates = [stored.clone()];
        self.with(|request| find(request, &candidates, &Watch(None)).unwrap().is_some())
    }
}

#[test]
fn a_dataset_of_the_same_sources_and_options_is_found() {
    let bench = Bench::new();
    assert!(bench.finds(&bench.stored()));
}

#[test]
fn a_stop_ends_the_reading_of_the_sources() {
    let bench = Bench::new();
    let stopped = bench.with(|request| key_of(request, &Watch(Some(StopReason::Cancel))));
    assert!(matches!(stopped, Err(IngestError::Stopped(StopReason::Cancel))), "{stopped:?}");
}

#[test]
fn one_byte_in_a_source_or_one_option_makes_another_dataset() {
    let mut bench = Bench::new();
    let stored = bench.stored();
    bench.options.min_chars += 1;
    assert!(!bench.finds(&stored), "another option");
    bench.options.min_chars -= 1;
    bench.golden =
        Some(GoldenTexts { reference: "g@1".into(), digest: Digest::of(b"golden"), samples: Vec::new() });
    assert!(!bench.finds(&stored), "another golden dataset");
    bench.golden = None;
    bench.domain = "tax".parse().unwrap();
    assert!(!bench.finds(&stored), "another domain");
    bench.domain = "law".parse().unwrap();
    assert!(bench.finds(&stored), "nothing differs any more");
    fs::write(bench.path(), "{\"id\":\"a\",\"text\":\"Der Bauantrag ist schriftlich einzureichen!\"}\n")
        .unwrap();
    assert!(!bench.finds(&stored), "another source");
}

#[test]
fn another_model_or_endpoint_or_weight_of_embeddings_makes_another_dataset() {
    let mut bench = Bench::new();
    let rerank = RerankOptions {
        endpoint: "http://embedder:8080/v1".into(),
        model: "bge-m3".into(),
        api_key_env: None,
        candidates: 1000,
        weight: 0.5,
    };
    bench.options.rerank = Some(rerank.clone());
    let stored = bench.stored();
    assert!(bench.finds(&stored));
    for other in [
        RerankOptions { model: "e5-large".into(), ..rerank.clone() },
        RerankOptions { endpoint: "http://embedder:8081/v1".into(), ..rerank.clone() },
        RerankOptions { candidates: 999, ..rerank.clone() },
        RerankOptions { weight: 0.6, ..rerank },
    ] {
        bench.options.rerank = Some(other);
        assert!(!bench.finds(&stored), "{:?}", bench.options.rerank);
    }
    bench.options.rerank = None;
    assert!(!bench.finds(&stored), "no embeddings at all");
}

#[test]
fn a_fresh_dataset_is_asked_for_by_name_and_has_the_same_key() {
    let mut bench = Bench::new();
    let stored = bench.stored();
    bench.options.fresh = true;
    assert!(!bench.finds(&stored));
    assert_eq!(bench.stored().result.key, stored.result.key);
}

#[tokio::test]
async fn a_taken_dataset_is_copied_and_names_the_job_that_made_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("train.jsonl"), "{}\n").unwrap();
    let artifacts = ArtifactStore::new(std::sync::Arc::new(object_store::memory::InMemory::new()));
    let mut stored = Bench::new().stored();
    stored.result.dataset = artifacts.put_folder("jobs/job-1/ingest/a", folder.path()).await.unwrap();
    let out = tempfile::tempdir().unwrap();
    let taken = take(&artifacts, &stored, "jobs/job-2/ingest/b", out.path()).await.unwrap().unwrap();
    assert_eq!(taken.dataset.prefix, "jobs/job-2/ingest/b");
    assert_eq!(taken.dataset.digest(), stored.result.dataset.digest());
    assert_eq!(taken.reused_from, Some("job-1".parse().unwrap()));

    artifacts.remove("jobs/job-1/ingest/a/train.jsonl").await.unwrap();
    let out = tempfile::tempdir().unwrap();
    assert_eq!(take(&artifacts, &stored, "jobs/job-3/ingest/c", out.path()).await.unwrap(), None);
}
