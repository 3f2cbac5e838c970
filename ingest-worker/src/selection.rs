//! Decides document by document what enters the dataset, and why the others do not.

use std::collections::BTreeMap;

use clara_lifecycle::{
    dataset::{
        DropReason, DroppedDocument, GoldenOverlap, Mend, MendCount, OverlapMeasure, RankedDocument,
        ShapeReport, TrainingContent,
    },
    id::Domain,
    shown::shown_list,
    spec::IngestOptions,
};

use crate::{
    broken::BrokenDocuments,
    clean::Cleaner,
    dataset::{DatasetWriter, Kept, Written},
    dedupe::{Duplicates, KnownTexts, Signature, text_digest},
    error::IngestError,
    filter::{self, Drop},
    ingest::{IngestObserver, IngestRequest},
    overlap::{AnswerCheck, Overlap, OverlapCheck},
    query::{Place, Ranking},
    shape::Shaper,
    source::{Document, SourceItem},
    words::Words,
};

/// So many of the most relevant documents are named in the manifest.
const MOST_RELEVANT: u64 = 10;

/// The state of the selecting pass.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    options: &'a IngestOptions,
    domain: &'a Domain,
    ranking: Option<Ranking>,
    cleaner: Cleaner<'a>,
    words: Words,
    duplicates: Duplicates,
    known: KnownTexts,
    overlap: OverlapCheck,
    shaper: Shaper<'a>,
    answers: AnswerCheck,
    writer: DatasetWriter,
    base_model: Option<&'a str>,
    broken: BrokenDocuments,
    read: u64,
    removed: Vec<GoldenOverlap>,
    most_relevant: BTreeMap<u64, RankedDocument>,
}

/// What becomes of a document.
#[derive(Debug)]
enum Verdict {
    Keep(Signature),
    Drop(Drop),
}

impl Verdict {
    fn drop(reason: DropReason, detail: String) -> Self {
        Self::Drop((reason, detail))
    }
}

/// What the selecting pass found.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) read: u64,
    pub(crate) written: Written,
    pub(crate) removed: Vec<GoldenOverlap>,
    pub(crate) mended: BTreeMap<Mend, MendCount>,
    pub(crate) most_relevant: Vec<RankedDocument>,
}

impl<'a> Selection<'a> {
    pub(crate) fn new(request: &IngestRequest<'a>, ranking: Option<Ranking>) -> Result<Self, IngestError> {
        let options = request.options;
        let clean = &options.clean;
        let known = if clean.skip_known { request.known } else { &[] };
        let writer = DatasetWriter::create(request.out, request.scratch, options)?;
        let samples = request.golden.map_or(&[][..], |golden| golden.samples.as_slice());
        Ok(Self {
            options,
            domain: request.domain,
            ranking,
            cleaner: Cleaner::new(clean),
            words: Words::default(),
            duplicates: Duplicates::create(clean.near_duplicate_limit, request.out, request.scratch)?,
            known: KnownTexts::open(known, clean.near_duplicate_limit)?,
            overlap: OverlapCheck::new(samples, options.overlap_ngram_words, options.overlap_limit),
            answers: AnswerCheck::new(samples, clean.golden_similarity_limit),
            shaper: Shaper::new(options, request.domain)?,
            writer,
            base_model: request.base_model,
            broken: BrokenDocuments::default(),
            read: 0,
            removed: Vec::new(),
            most_relevant: BTreeMap::new(),
        })
    }

    /// Takes the next document of a source, whole or broken.
    pub(crate) fn take(&mut self, source: &str, item: SourceItem) -> Result<(), IngestError> {
        let number = self.read;
        self.read += 1;
        match item {
            SourceItem::Document(mut document) => match self.judge(number, &mut document)? {
                Verdict::Drop((reason, detail)) => {
                    let Document { id, origin, .. } = document;
                    self.drop(id, origin.to_string(), reason, detail)
                }
                Verdict::Keep(signature) => {
                    self.duplicates.keep(&signature, &document.origin)?;
                    self.keep(source, document)
                }
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
            return Err(IngestError::NoDocuments { sources: shown_list(&self.options.sources), skipped: 0 });
        }
        if self.writer.kept() == 0 {
            let counts: Vec<String> =
                self.writer.dropped().iter().map(|(reason, count)| format!("{reason}: {count}")).collect();
            return Err(IngestError::NothingKept { read: self.read, dropped: counts.join(", ") });
        }
        let mut written = self.writer.finish(self.base_model, observer)?;
        self.duplicates.finish(&written.left_out)?;
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
            mended: self.cleaner.into_mended(),
            most_relevant: self.most_relevant.into_values().collect(),
        })
    }

    /// Mends the document and asks the filters in their order, the cheap ones first.
    fn judge(&mut self, number: u64, document: &mut Document) -> Result<Verdict, IngestError> {
        if let Some(drop) = self.unfit(number, document) {
            return Ok(Verdict::Drop(drop));
        }
        let text = text_digest(&document.content);
        if let Some(earlier) = self.duplicates.same(text)? {
            return Ok(Verdict::drop(DropReason::Duplicate, format!("the same text as {earlier}")));
        }
        let signature = self.duplicates.sign(text, &document.content, &self.words);
        if let Some(near) = self.duplicates.near(&signature)? {
            let detail = format!("{:.3} similar to {}", near.similarity, near.origin);
            return Ok(Verdict::drop(DropReason::NearDuplicate, detail));
        }
        if let Some(similarity) = self.known.similarity(&signature, self.duplicates.has_words())? {
            let detail = format!("{similarity:.3} similar to a document of an earlier dataset");
            return Ok(Verdict::drop(DropReason::Known, detail));
        }
        Ok(self.golden_overlap(&document.id).map_or(Verdict::Keep(signature), Verdict::Drop))
    }

    /// The filters that look at one document alone.
    fn unfit(&mut self, number: u64, document: &mut Document) -> Option<Drop> {
        if let Some(drop) = filter::domain(document.domain.as_deref(), self.domain) {
            return Some(drop);
        }
        if let Some(drop) = filter::allowed(document, &self.options.clean) {
            return Some(drop);
        }
        match self.ranking.as_ref().map(|ranking| ranking.place(number)) {
            Some(Err(drop)) => return Some(drop),
            Some(Ok(place)) => self.note_relevance(&document.id, place),
            None => {}
        }
        self.cleaner.mend(document);
        if let Some(drop) = filter::length(&document.content, self.options) {
            return Some(drop);
        }
        self.words.read(&document.content);
        if let Some(drop) = self.cleaner.reason_to_drop(&document.content, &self.words) {
            return Some(drop);
        }
        match self.cleaner.guard_personal_data(document) {
            Err(drop) => return Some(drop),
            Ok(true) => self.words.read(&document.content),
            Ok(false) => {}
        }
        None
    }

    /// The golden sample that a document copies or paraphrases, if any; notes it for the manifest.
    fn golden_overlap(&mut self, document_id: &str) -> Option<Drop> {
        let (measure, overlap) = match self.overlap.find(&self.words) {
            Some(copied) => (OverlapMeasure::Ngrams, copied),
            None => (OverlapMeasure::Answer, self.answers.find(&self.words)?),
        };
        let Overlap { sample_id, share } = overlap;
        let detail = match measure {
            OverlapMeasure::Ngrams => format!("holds {share:.3} of golden sample {sample_id}"),
            OverlapMeasure::Answer => {
                format!("a passage is {share:.3} similar to the answer of golden sample {sample_id}")
            }
        };
        self.removed.push(GoldenOverlap { document_id: document_id.to_owned(), sample_id, measure, share });
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
            let mut words = Words::default();
            words.read(&TrainingContent::Text { text: question.to_owned() });
            self.overlap.find(&words).is_some()
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
