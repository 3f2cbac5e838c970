//! The whole pipeline over every route of both generations: one query, one dataset, the one that a file gives.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use clara_ingest_worker::{
    IngestError, IngestObserver, IngestRequest,
    fetch::{CollectObserver, CollectRequest, Collected, FetchProgress, OpenByKind, Saved, Servers, collect},
    ingest,
};
use clara_lifecycle::{dataset::DatasetManifest, spec::IngestOptions};
use clara_runtime::{
    config::ThemisRoute,
    stop::{StopReason, stop_switch},
};
use serde_json::{Value, json};

use crate::{
    documents::{documents, lines},
    double::{Cursors, Double, Faults, Generation, Quirks, Store, search},
    pass::request,
};

const QUERY: [&str; 2] = ["Photovoltaik", "Baurecht"];
const SOURCE: &str = "@gesetze";

/// A way to all documents, or to those that the server's index finds.
#[derive(Debug, Clone, Copy)]
struct Way {
    route: ThemisRoute,
    cursors: Cursors,
    /// By the changefeed, from its beginning.
    is_increment: bool,
    /// The server searches, and its index knows no compounds.
    is_searched: bool,
}

const WAYS: [Way; 8] = [
    Way::new(ThemisRoute::Auto, Cursors::Work, false, false),
    Way::new(ThemisRoute::Fulltext, Cursors::Work, false, true),
    Way::new(ThemisRoute::Aql, Cursors::Work, false, false),
    Way::new(ThemisRoute::Aql, Cursors::None, false, false),
    Way::new(ThemisRoute::Aql, Cursors::Repeat, false, false),
    Way::new(ThemisRoute::Aql, Cursors::Expire, false, false),
    Way::new(ThemisRoute::Export, Cursors::Work, false, false),
    Way::new(ThemisRoute::Auto, Cursors::Work, true, false),
];

impl Way {
    const fn new(route: ThemisRoute, cursors: Cursors, is_increment: bool, is_searched: bool) -> Self {
        Self { route, cursors, is_increment, is_searched }
    }
}

struct Watch;

impl IngestObserver for Watch {
    fn documents(&self, _: u64, _: Option<u64>) {}

    fn stop(&self) -> Option<StopReason> {
        None
    }
}

#[async_trait]
impl CollectObserver for Watch {
    fn fetched(&self, _: &FetchProgress<'_>) {}

    async fn saved(&mut self, _: &Saved) -> Result<(), IngestError> {
        Ok(())
    }
}

/// A dataset: its records by the documents that they were made from.
struct Dataset {
    manifest: DatasetManifest,
    records: BTreeMap<String, Vec<String>>,
}

impl Dataset {
    /// Reads it, and finds every document of its sources in it or among the dropped ones.
    fn read(out: &Path, manifest: DatasetManifest) -> Result<Self> {
        let mut records: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in ["train.jsonl", "validation.jsonl"] {
            for line in fs::read_to_string(out.join(name))?.lines() {
                let record: Value = serde_json::from_str(line)?;
                let id = record["document_id"].as_str().context("a record names no document")?;
                let id = id.split('#').next().unwrap_or_default().to_owned();
                records.entry(id).or_default().push(format!("{name}: {line}"));
            }
        }
        let dropped: u64 = manifest.dropped.values().sum();
        ensure!(manifest.documents_kept == records.len() as u64, "{manifest:?}");
        ensure!(manifest.documents_read == manifest.documents_kept + dropped, "{manifest:?}");
        Ok(Self { manifest, records })
    }

    /// The part of it that was made from these documents.
    fn of(&self, ids: &BTreeSet<String>) -> BTreeMap<String, Vec<String>> {
        let records = self.records.iter().filter(|(id, _)| ids.contains(*id));
        records.map(|(id, lines)| (id.clone(), lines.clone())).collect()
    }
}

fn options(source: &str) -> IngestOptions {
    let query = Some(QUERY.join(" "));
    let mut options = IngestOptions { sources: vec![source.to_owned()], query, ..IngestOptions::default() };
    // Which of two alike documents is kept depends on their order, and full text gives the best first.
    options.clean.near_duplicate_limit = 1.0;
    // Sides are drawn by the number of documents.
    options.validation_share = 0.0;
    options
}

fn dataset(options: &IngestOptions, collected: &Collected, folder: &Path) -> Result<Dataset> {
    let out = folder.join("out");
    let request = IngestRequest {
        options,
        domain: &"verwaltungsrecht".parse()?,
        golden: None,
        known: &[],
        base_model: None,
        collected,
        out: &out,
        scratch: &folder.join("scratch"),
    };
    let manifest = ingest::run(&request, &Watch)?;
    Dataset::read(&out, manifest)
}

fn of_file(documents: &[Value]) -> Result<Dataset> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("gesetze.jsonl");
    fs::write(&file, lines(documents))?;
    dataset(&options(&file.to_string_lossy()), &Collected::default(), folder.path())
}

async fn of_server(double: &Double, way: Way) -> Result<Dataset> {
    let folder = tempfile::tempdir()?;
    let mut settings = request(double, way.route)?.settings;
    settings.page = 50;
    settings.patience.0 = Duration::from_mins(1);
    let mut options = options(SOURCE);
    options.since_last = way.is_increment;
    let since = BTreeMap::from([(SOURCE.to_owned(), json!({ "sequence": 0 }))]);
    let request = CollectRequest {
        options: &options,
        domain: &"verwaltungsrecht".parse()?,
        servers: &Servers::from([("gesetze".to_owned(), settings)]),
        since: &since,
        folder: &folder.path().join("fetched"),
        checkpoint_every: 100,
        patience: Duration::from_mins(1),
    };
    let (_switch, stop) = stop_switch();
    let collected = collect(&request, &OpenByKind, &mut Watch, &stop).await?;
    dataset(&options, &collected, folder.path())
}

/// The documents that the server's index finds by one of the words.
fn found_by_words(store: &Store) -> BTreeSet<String> {
    let found = QUERY.iter().flat_map(|word| search(store, "content", word, usize::MAX));
    found.map(|(key, _)| key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_makes_the_dataset_of_a_file_by_every_route_of_both_generations() -> Result<()> {
    let documents = documents()?;
    let expected = of_file(&documents)?;
    let store = Store::of(&documents);
    let all: BTreeSet<String> = expected.records.keys().cloned().collect();
    let searched = found_by_words(&store);
    let whole = documents.len() as u64;
    ensure!(expected.manifest.documents_read == whole && !expected.of(&searched).is_empty(), "too few");
    for generation in [Generation::T25, Generation::T26] {
        for way in WAYS {
            let quirks = Quirks { cursors: way.cursors, ..Quirks::of(generation) };
            let double = Double::start(quirks, Faults::storm(7), store.clone()).await?;
            let made = of_server(&double, way).await.with_context(|| format!("{way:?} of {generation:?}"))?;
            // What is found by compounds alone is what the server's search leaves out, and nothing else.
            let found = if way.is_searched { &searched } else { &all };
            assert_eq!(made.records, expected.of(found), "{way:?} of {generation:?}");
            let read = made.manifest.documents_read;
            let is_whole = !way.is_searched && way.route != ThemisRoute::Export;
            ensure!(!is_whole || read == whole, "{way:?} of {generation:?} read {read} of {whole}");
        }
    }
    let missed = expected.records.len() - expected.of(&searched).len();
    eprintln!(
        "{} of {whole} documents by every route; full text leaves out {missed} of them, which hold compounds alone",
        expected.records.len()
    );
    Ok(())
}
