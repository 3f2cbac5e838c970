//! Makes a dataset from sources: ranks when there is a query, selects, writes, and accounts for every document.

#[cfg(test)]
mod tests;

use std::path::Path;

use clara_lifecycle::{
    dataset::{DatasetManifest, GoldenOverlapReport, SourceFileEntry},
    digest::Digest,
    golden::GoldenDataset,
    id::Domain,
    spec::IngestOptions,
};
use clara_runtime::stop::StopReason;
use tracing::{info, warn};

use crate::{
    broken::BrokenLines,
    dataset::write_manifest,
    error::IngestError,
    fetch::{Collected, Place},
    filter,
    query::{Ranking, SearchIndex},
    selection::{Selected, Selection},
    source::{Found, SourceItem, SourceReader, discover, source_digest},
};

/// Layout of `manifest.json`.
const MANIFEST_FORMAT: u32 = 1;
/// Progress is told once for so many documents.
const DOCUMENTS_PER_REPORT: u64 = 100;

/// What a dataset is made from, and where.
#[derive(Debug, Clone, Copy)]
pub struct IngestRequest<'a> {
    /// Sources, query and filters.
    pub options: &'a IngestOptions,
    /// The job's domain.
    pub domain: &'a Domain,
    /// The texts that must not be trained on.
    pub golden: &'a GoldenTexts,
    /// The job's base model, whose tokenizer counts; `None` counts nothing.
    pub base_model: Option<&'a str>,
    /// What was fetched of sources elsewhere; nothing where all of them lie on this machine.
    pub collected: &'a Collected,
    /// Folder that receives `train.jsonl`, `validation.jsonl`, `manifest.json` and `dropped.jsonl.zst`; made when missing.
    pub out: &'a Path,
    /// Folder for intermediate files, another one than `out`; made when missing, must hold no earlier search index.
    pub scratch: &'a Path,
}

/// The texts of a golden dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoldenTexts {
    /// `id@version`.
    pub reference: String,
    /// Digest of the frozen content.
    pub digest: Digest,
    /// The samples.
    pub samples: Vec<GoldenText>,
}

/// The texts of a golden sample that must not be trained on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoldenText {
    /// The sample.
    pub sample_id: String,
    /// What is asked.
    pub prompt: String,
    /// What is expected.
    pub expected_output: String,
}

/// Watches an ingest and may end it.
pub trait IngestObserver {
    /// `done` documents of a pass were read, of `total` where known. With a query there are two passes.
    fn documents(&self, done: u64, total: Option<u64>);

    /// A reason to stop, asked for at each document.
    fn stop(&self) -> Option<StopReason>;
}

impl GoldenTexts {
    /// The texts of a frozen golden dataset.
    pub fn new(reference: String, digest: Digest, dataset: &GoldenDataset) -> Self {
        let samples = dataset.samples.iter().map(|sample| GoldenText {
            sample_id: sample.sample_id.clone(),
            prompt: sample.prompt.clone(),
            expected_output: sample.expected_output.clone(),
        });
        Self { reference, digest, samples: samples.collect() }
    }
}

/// Makes a dataset; blocks until it is written.
///
/// The same sources, options and golden dataset give the same bytes.
///
/// # Errors
/// [`IngestError`]; what lies in `out` then is incomplete.
pub fn run(
    request: &IngestRequest<'_>,
    observer: &dyn IngestObserver,
) -> Result<DatasetManifest, IngestError> {
    check(request)?;
    let found = request.collected.discover(request.options)?;
    if let Some(first) = found.skipped.first() {
        warn!(
            skipped = found.skipped.len(),
            "skipped files of unknown kinds in source folders, first {first}"
        );
    }
    let ranked = match &request.options.query {
        Some(query) => Some(rank(request, query, &found, observer)?),
        None => None,
    };
    let (ranking, expected) =
        ranked.map_or((None, None), |ranked| (Some(ranked.ranking), Some(ranked.expected)));
    let mut selection = Selection::new(request, ranking)?;
    let total = expected.as_ref().map(|expected| expected.documents);
    let entries = for_each_item(request, &found, observer, total, |_, item| selection.take(item))?;
    if expected.is_some_and(|expected| expected.digest != source_digest(&entries)) {
        return Err(IngestError::SourcesChanged { sources: request.options.sources.join(", ") });
    }
    let manifest = manifest(request, found, entries, selection.finish()?);
    write_manifest(request.out, &manifest)?;
    info!(
        documents_read = manifest.documents_read,
        documents_kept = manifest.documents_kept,
        train_records = manifest.train_records,
        validation_records = manifest.validation_records,
        "wrote the dataset"
    );
    Ok(manifest)
}

/// Refuses options that would be ignored or keep the golden samples unguarded, and sources of this machine that are not
/// there, before anything is fetched for them.
///
/// # Errors
/// [`IngestError`] as [`run`] has it.
pub fn check_early(request: &IngestRequest<'_>) -> Result<(), IngestError> {
    check(request)?;
    for source in &request.options.sources {
        if let Place::Local(path) = Place::of(source) {
            match discover(&[path.to_owned()], &request.options.fields) {
                Ok(_) | Err(IngestError::NoDocuments { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Refuses options that would be ignored or keep the golden samples unguarded.
fn check(request: &IngestRequest<'_>) -> Result<(), IngestError> {
    let IngestOptions { query, top_k, min_relevance, .. } = request.options;
    let refuse = |problem: &str| Err(IngestError::Options { problem: problem.to_owned() });
    if query.is_none() && (top_k.is_some() || *min_relevance > 0.0) {
        return refuse(
            "ingest.top_k and ingest.min_relevance need ingest.query; give a query or leave them out",
        );
    }
    if request.golden.samples.is_empty() {
        return refuse(
            "the golden dataset holds no sample, so that nothing can be kept out; add samples to it",
        );
    }
    if request.out == request.scratch {
        return refuse("the folder of the dataset and the scratch folder are the same; give two folders");
    }
    Ok(())
}

/// A ranking, and what the pass that made it saw.
struct Ranked {
    ranking: Ranking,
    expected: Expected,
}

/// What the selecting pass must find again.
struct Expected {
    documents: u64,
    digest: Digest,
}

/// The first pass: indexes the documents of the domain and asks the query.
fn rank(
    request: &IngestRequest<'_>,
    query: &str,
    found: &Found,
    observer: &dyn IngestObserver,
) -> Result<Ranked, IngestError> {
    let mut index = SearchIndex::create(&request.scratch.join("index"))?;
    let mut broken = BrokenLines::default();
    let mut documents = 0;
    let entries = for_each_item(request, found, observer, None, |number, item| {
        documents += 1;
        match item {
            SourceItem::Broken(line) => broken.add(&line),
            SourceItem::Document(document) => {
                if filter::domain(document.domain.as_deref(), request.domain).is_none() {
                    index.add(number, &document.searchable_text())?;
                }
            }
        }
        Ok(())
    })?;
    broken.check(documents, request.options.max_broken_share)?;
    let searched = index.documents();
    let ranking = Ranking::new(index.search(query)?, request.options);
    if ranking.is_empty() {
        return Err(IngestError::NothingMatches { query: query.to_owned(), searched });
    }
    Ok(Ranked { ranking, expected: Expected { documents, digest: source_digest(&entries) } })
}

/// Reads all sources once, with progress and stop; gives each item its number.
fn for_each_item(
    request: &IngestRequest<'_>,
    found: &Found,
    observer: &dyn IngestObserver,
    total: Option<u64>,
    mut take: impl FnMut(u64, SourceItem) -> Result<(), IngestError>,
) -> Result<Vec<SourceFileEntry>, IngestError> {
    let mut reader = SourceReader::new(&found.files).showing(request.collected.shown());
    let mut done = 0;
    while let Some(item) = reader.next_item()? {
        if let Some(reason) = observer.stop() {
            return Err(IngestError::Stopped(reason));
        }
        take(done, item)?;
        done += 1;
        if done % DOCUMENTS_PER_REPORT == 0 {
            observer.documents(done, total);
        }
    }
    observer.documents(done, total);
    Ok(reader.into_entries())
}

fn manifest(
    request: &IngestRequest<'_>,
    found: Found,
    entries: Vec<SourceFileEntry>,
    selected: Selected,
) -> DatasetManifest {
    let IngestRequest { options, domain, golden, .. } = request;
    let written = selected.written;
    DatasetManifest {
        format: MANIFEST_FORMAT,
        domain: domain.to_string(),
        query: options.query.clone(),
        sources: options.sources.clone(),
        source_digest: source_digest(&entries),
        source_files: entries,
        remote_sources: request.collected.entries(),
        skipped_files: found.skipped,
        most_relevant: selected.most_relevant,
        documents_read: selected.read,
        documents_kept: written.documents_kept,
        dropped: written.dropped,
        dropped_samples: written.dropped_samples,
        validation_documents: written.validation_documents,
        train_records: written.train.records,
        validation_records: written.validation.records,
        train_digest: written.train.digest,
        validation_digest: written.validation.digest,
        golden_overlap: GoldenOverlapReport {
            golden_dataset: golden.reference.clone(),
            golden_digest: golden.digest.clone(),
            ngram_words: options.overlap_ngram_words,
            limit: options.overlap_limit,
            removed: selected.removed,
        },
        shape: written.shape,
    }
}
