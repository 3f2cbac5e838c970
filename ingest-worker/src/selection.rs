//! Decides document by document what enters the dataset, and why the others do not.

use std::collections::BTreeMap;

use clara_lifecycle::{
    dataset::{DropReason, DroppedDocument, GoldenOverlap, RankedDocument, ShapeReport, TrainingContent},
    id::Domain,
    spec::IngestOptions,
};

use crate::{
    broken::BrokenLines,
    dataset::{DatasetWriter, Kept, Written},
    dedupe::SeenTexts,
    error::IngestError,
    filter::{self, Drop},
    ingest::{IngestObserver, IngestRequest},
    overlap::OverlapCheck,
    query::{Place, Ranking},
    shape::Shaper,
    source::{Document, SourceItem},
};

/// So many of the most relevant documents are named in the manifest.
const MOST_RELEVANT: u64 = 10;

/// The state of the selecting pass.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    options: &'a IngestOptions,
    domain: &'a Domain,
    ranking: Option<Ranking>,
    seen: SeenTexts,
    overlap: OverlapCheck,
    shaper: Shaper<'a>,
    writer: DatasetWriter,
    base_model: Option<&'a str>,
    broken: BrokenLines,
    read: u64,
    removed: Vec<GoldenOverlap>,
    most_relevant: BTreeMap<u64, RankedDocument>,
}

/// What the selecting pass found.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) read: u64,
    pub(crate) written: Written,
    pub(crate) removed: Vec<GoldenOverlap>,
    pub(crate) most_relevant: Vec<RankedDocument>,
}

impl<'a> Selection<'a> {
    pub(crate) fn new(request: &IngestRequest<'a>, ranking: Option<Ranking>) -> Result<Self, IngestError> {
        let options = request.options;
        Ok(Self {
            options,
            domain: request.domain,
            ranking,
            seen: SeenTexts::default(),
            overlap: OverlapCheck::new(
                request.golden.map_or(&[], |golden| golden.samples.as_slice()),
                options.overlap_ngram_words,
                options.overlap_limit,
            ),
            shaper: Shaper::new(options, request.domain)?,
            writer: DatasetWriter::create(request.out, request.scratch, options)?,
            base_model: request.base_model,
            broken: BrokenLines::default(),
            read: 0,
            removed: Vec::new(),
            most_relevant: BTreeMap::new(),
        })
    }

    /// Takes the next document or broken line of a source.
    pub(crate) fn take(&mut self, source: &str, item: SourceItem) -> Result<(), IngestError> {
        let number = self.read;
        self.read += 1;
        match item {
            SourceItem::Document(document) => match self.reason_to_drop(number, &document) {
                Some((reason, detail)) => {
                    let Document { id, origin, .. } = document;
                    self.drop(id, origin.to_string(), reason, detail)
                }
                None => self.keep(source, document),
            },
            SourceItem::Broken(broken) => {
                self.broken.add(&broken);
                let origin = broken.origin.to_string();
                self.drop(origin.clone(), origin, DropReason::Broken, broken.problem)
            }
        }
    }

    /// Checks the whole and writes the dataset.
    pub(crate) fn finish(self, observer: &dyn IngestObserver) -> Result<Selected, IngestError> {
        self.broken.log();
        self.broken.check(self.read, self.options.max_broken_share)?;
        if self.read == 0 {
            return Err(IngestError::NoDocuments { sources: self.options.sources.join(", "), skipped: 0 });
        }
        if self.writer.kept() == 0 {
            let counts: Vec<String> =
                self.writer.dropped().iter().map(|(reason, count)| format!("{reason}: {count}")).collect();
            return Err(IngestError::NothingKept { read: self.read, dropped: counts.join(", ") });
        }
        let mut written = self.writer.finish(self.base_model, observer)?;
        written.shape = ShapeReport {
            mixture: written.shape.mixture,
            clusters: written.shape.clusters,
            tokens: written.shape.tokens,
            tokens_not_counted: written.shape.tokens_not_counted,
            ..self.shaper.report()
        };
        Ok(Selected {
            read: self.read,
            written,
            removed: self.removed,
            most_relevant: self.most_relevant.into_values().collect(),
        })
    }

    /// The filters in their order, the cheap ones first.
    fn reason_to_drop(&mut self, number: u64, document: &Document) -> Option<Drop> {
        let Document { id, origin, domain, content, .. } = document;
        if let Some(drop) = filter::domain(domain.as_deref(), self.domain) {
            return Some(drop);
        }
        match self.ranking.as_ref().map(|ranking| ranking.place(number)) {
            Some(Err(drop)) => return Some(drop),
            Some(Ok(place)) => self.note_relevance(id, place),
            None => {}
        }
        if let Some(drop) = filter::length(content, self.options) {
            return Some(drop);
        }
        if let Some(earlier) = self.seen.earlier(content, origin) {
            return Some((DropReason::Duplicate, format!("the same text as {earlier}")));
        }
        let overlap = self.overlap.find(content)?;
        let detail = format!("holds {:.3} of golden sample {}", overlap.share, overlap.sample_id);
        let (sample_id, share) = (overlap.sample_id, overlap.share);
        self.removed.push(GoldenOverlap { document_id: id.clone(), sample_id, share });
        Some((DropReason::GoldenOverlap, detail))
    }

    fn note_relevance(&mut self, document_id: &str, place: Place) {
        if place.rank <= MOST_RELEVANT {
            let document_id = document_id.to_owned();
            self.most_relevant.insert(place.rank, RankedDocument { document_id, relevance: place.relevance });
        }
    }

    fn keep(&mut self, source: &str, document: Document) -> Result<(), IngestError> {
        let id = document.id.clone();
        let cluster = self.options.shape.cluster.as_ref().and_then(|field| document.metadata.get(field));
        let cluster = cluster.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let origin = document.origin.to_string();
        let is_golden = |question: &str| {
            self.overlap.find(&TrainingContent::Text { text: question.to_owned() }).is_some()
        };
        let records = self.shaper.records(document, &is_golden);
        self.writer.keep(&Kept { id: &id, origin, source, cluster: cluster.as_deref() }, &records)
    }

    fn drop(
        &mut self,
        document_id: String,
        origin: String,
        reason: DropReason,
        detail: String,
    ) -> Result<(), IngestError> {
        self.writer.drop(&DroppedDocument { document_id, origin, reason, detail })
    }
}
