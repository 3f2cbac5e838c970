//! Makes a dataset from sources: ranks when there is a query, selects, writes, and accounts for every document.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use clara_lifecycle::{
    dataset::{DatasetManifest, GoldenOverlapReport, RerankReport, SourceFileEntry},
    digest::Digest,
    golden::GoldenDataset,
    id::Domain,
    query::Query,
    shown::shown_list,
    spec::IngestOptions,
};
use clara_runtime::stop::StopReason;
use tracing::{info, warn};

use crate::{
    broken::BrokenDocuments,
    card,
    clean::{Cleaner, language},
    dataset::write_manifest,
    error::IngestError,
    fetch::{Collected, Place},
    filter, mixture,
    query::{Ranking, Reranker, SearchIndex},
    reuse::dataset_key,
    selection::{Selected, Selection},
    shape::Shaper,
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
    /// The texts that must not be trained on; without them nothing is compared.
    pub golden: Option<&'a GoldenTexts>,
    /// Files `signatures.bin` of earlier datasets of the family, whose documents `ingest.clean.skip_known` leaves out.
    pub known: &'a [PathBuf],
    /// The job's base model, whose tokenizer counts; `None` counts nothing.
    pub base_model: Option<&'a str>,
    /// What was fetched of sources elsewhere; nothing where all of them lie on this machine.
    pub collected: &'a Collected,
    /// Folder that receives `train.jsonl`, `validation.jsonl`, `manifest.json`, `signatures.bin`, `dropped.jsonl.zst` and the card; made when missing.
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
    let asked = request.options.query.as_deref().map(Query::parse).transpose()?;
    let found = request.collected.discover(request.options)?;
    if let Some(first) = found.skipped.first() {
        warn!(
            skipped = found.skipped.len(),
            "skipped files of unknown kinds or of other splits in source folders, first {first}"
        );
    }
    let ranked = match asked {
        Some(asked) => Some(rank(request, asked, &found, observer)?),
        None => None,
    };
    let (ranking, expected, rerank) = ranked
        .map_or((None, None, None), |ranked| (Some(ranked.ranking), Some(ranked.expected), ranked.rerank));
    let mut selection = Selection::new(request, ranking)?;
    let total = expected.as_ref().map(|expected| expected.documents);
    let entries =
        for_each_item(request, &found, observer, total, |_, source, item| selection.take(source, item))?;
    if let Some(expected) = expected {
        expected.check(&entries, request)?;
    }
    let mut selected = selection.finish(observer)?;
    let seen = std::mem::take(&mut selected.written.seen);
    let mut manifest = manifest(request, found, entries, selected);
    manifest.shape.rerank = rerank;
    write_manifest(request.out, &manifest)?;
    card::write(request.out, &manifest, &seen)?;
    info!(
        documents_read = manifest.documents_read,
        documents_kept = manifest.documents_kept,
        train_records = manifest.train_records,
        validation_records = manifest.validation_records,
        "wrote the dataset"
    );
    Ok(manifest)
}

/// Refuses, before anything is fetched, what [`run`] would refuse after it: options, and sources of this machine that are not
/// there.
///
/// # Errors
/// [`IngestError`] as [`run`] has it.
pub fn check_early(request: &IngestRequest<'_>) -> Result<(), IngestError> {
    check(request)?;
    let sources = &request.options.sources;
    if !sources.iter().any(|source| Place::of(source).is_remote()) {
        return Ok(());
    }
    for source in sources {
        if let Place::Local(path) = Place::of(source) {
            match discover(&[path.to_owned()], &request.options.fields) {
                Ok(_) | Err(IngestError::NoDocuments { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Refuses options that cannot be met whatever the sources hold: limits without a query, a malformed query, a wrong template of a
/// question, weights of unknown sources. Reads nothing; worth asking before documents are fetched.
///
/// # Errors
/// [`IngestError::Options`] and [`IngestError::Query`].
pub fn check_options(options: &IngestOptions, domain: &Domain) -> Result<(), IngestError> {
    let IngestOptions { query, top_k, min_relevance, rerank, .. } = options;
    if query.is_none() && (top_k.is_some() || *min_relevance > 0.0 || rerank.is_some()) {
        let problem = "`--top-k`, `--min-relevance` and `ingest.rerank` need a query; give one with `--query` (`ingest.query`), or \
                       leave them out";
        return Err(IngestError::Options { problem: problem.to_owned() });
    }
    let languages = &options.clean.languages;
    if let Some(unknown) = languages.iter().find(|code| !language::is_known(code)) {
        let problem = format!(
            "`--languages` (`ingest.clean.languages`) names `{unknown}`, which is no language that can be told; expected ISO 639-1 codes such as `de`"
        );
        return Err(IngestError::Options { problem });
    }
    query.as_deref().map(Query::parse).transpose()?;
    mixture::check(&options.shape.weights, &options.sources)?;
    Shaper::new(options, domain).map(|_| ())
}

/// Refuses what would leave the golden samples unguarded or destroy files.
fn check(request: &IngestRequest<'_>) -> Result<(), IngestError> {
    check_options(request.options, request.domain)?;
    let refuse = |problem: &str| Err(IngestError::Options { problem: problem.to_owned() });
    if request.golden.is_some_and(|golden| golden.samples.is_empty()) {
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
    rerank: Option<RerankReport>,
    expected: Expected,
}

/// What the selecting pass must find again.
struct Expected {
    documents: u64,
    digest: Digest,
}

impl Expected {
    /// Refuses sources that another pass found changed.
    fn check(&self, entries: &[SourceFileEntry], request: &IngestRequest<'_>) -> Result<(), IngestError> {
        if self.digest == source_digest(entries) {
            return Ok(());
        }
        Err(IngestError::SourcesChanged { sources: shown_list(&request.options.sources) })
    }
}

/// The first pass: indexes the documents of the domain that are allowed and asks the query.
fn rank(
    request: &IngestRequest<'_>,
    asked: Query,
    found: &Found,
    observer: &dyn IngestObserver,
) -> Result<Ranked, IngestError> {
    let (query, sought) = (asked.text.clone(), asked.positive.join(" "));
    let mut index = SearchIndex::create(&request.scratch.join("index"), asked)?;
    let mut broken = BrokenDocuments::default();
    let mut cleaner = Cleaner::new(&request.options.clean);
    let mut documents = 0;
    let entries = for_each_item(request, found, observer, None, |number, _, item| {
        documents += 1;
        match item {
            SourceItem::Broken(document) => broken.add(&document),
            SourceItem::Document(mut document) => {
                let is_other = filter::domain(document.domain.as_deref(), request.domain).is_some()
                    || filter::allowed(&document, &request.options.clean).is_some();
                if !is_other {
                    cleaner.mend(&mut document);
                    index.add(number, &document)?;
                }
            }
        }
        Ok(())
    })?;
    broken.check(documents, request.options.max_broken_share)?;
    let searched = index.documents();
    let mut scores = index.search()?;
    if scores.is_empty() {
        return Err(IngestError::NothingMatches { query, searched });
    }
    let expected = Expected { documents, digest: source_digest(&entries) };
    let mut rerank = None;
    if let Some(options) = &request.options.rerank {
        let mut reranker = Reranker::new(options, &sought, scores, observer)?;
        let entries =
            for_each_item(request, found, observer, Some(documents), |number, _, item| match item {
                SourceItem::Document(mut document) if reranker.wants(number) => {
                    cleaner.mend(&mut document);
                    // A server elsewhere sees no more of a document than the dataset would.
                    match cleaner.guard_personal_data(&mut document) {
                        Ok(_) => reranker.take(number, &document),
                        Err(_) => Ok(()),
                    }
                }
                SourceItem::Document(_) | SourceItem::Broken(_) => Ok(()),
            })?;
        expected.check(&entries, request)?;
        let (mixed, report) = reranker.finish()?;
        (scores, rerank) = (mixed, Some(report));
    }
    Ok(Ranked { ranking: Ranking::new(scores, request.options), rerank, expected })
}

/// Reads all sources once, with progress and stop; gives each item its number.
fn for_each_item(
    request: &IngestRequest<'_>,
    found: &Found,
    observer: &dyn IngestObserver,
    total: Option<u64>,
    mut take: impl FnMut(u64, &str, SourceItem) -> Result<(), IngestError>,
) -> Result<Vec<SourceFileEntry>, IngestError> {
    let mut reader = SourceReader::new(&found.files).showing(request.collected.shown());
    let mut done = 0;
    while let Some(item) = reader.next_item()? {
        if let Some(reason) = observer.stop() {
            return Err(IngestError::Stopped(reason));
        }
        take(done, reader.source().unwrap_or_default(), item)?;
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
    let key = Some(dataset_key(request, &entries));
    let told = options.shown();
    DatasetManifest {
        format: MANIFEST_FORMAT,
        domain: domain.to_string(),
        query: options.query.clone(),
        sources: told.sources.clone(),
        source_digest: source_digest(&entries),
        source_files: entries,
        remote_sources: request.collected.entries(),
        skipped_files: found.skipped,
        most_relevant: selected.most_relevant,
        documents_read: selected.read,
        documents_kept: written.documents_kept,
        dropped: written.dropped,
        mended: selected.mended,
        dropped_samples: written.dropped_samples,
        validation_documents: written.validation_documents,
        train_records: written.train.records,
        validation_records: written.validation.records,
        train_digest: written.train.digest,
        validation_digest: written.validation.digest,
        golden_overlap: golden.map(|golden| GoldenOverlapReport {
            golden_dataset: golden.reference.clone(),
            golden_digest: golden.digest.clone(),
            ngram_words: options.overlap_ngram_words,
            limit: options.overlap_limit,
            similarity_limit: options.clean.golden_similarity_limit,
            removed: selected.removed,
        }),
        // Whether it was made anew does not change what was made.
        options: Some(IngestOptions { fresh: false, ..told }),
        key,
        shape: written.shape,
    }
}
