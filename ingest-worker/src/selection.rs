//! Decides document by document what enters the dataset, and why the others do not.

use std::collections::BTreeMap;

use clara_lifecycle::{
    dataset::{DropReason, DroppedDocument, GoldenOverlap, RankedDocument, TrainingContent, TrainingRecord},
    id::Domain,
    spec::IngestOptions,
};

use crate::{
    broken::BrokenLines,
    chunk::chunks,
    dataset::{DatasetWriter, Written},
    dedupe::SeenTexts,
    error::IngestError,
    filter::{self, Drop},
    ingest::IngestRequest,
    overlap::OverlapCheck,
    query::{Place, Ranking},
    source::{Document, SourceItem},
    split::SplitKey,
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
    writer: DatasetWriter,
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
            writer: DatasetWriter::create(request.out, request.scratch)?,
            broken: BrokenLines::default(),
            read: 0,
            removed: Vec::new(),
            most_relevant: BTreeMap::new(),
        })
    }

    /// Takes the next document or broken line of the sources.
    pub(crate) fn take(&mut self, item: SourceItem) -> Result<(), IngestError> {
        let number = self.read;
        self.read += 1;
        match item {
            SourceItem::Document(document) => match self.reason_to_drop(number, &document) {
                Some((reason, detail)) => {
                    let Document { id, origin, .. } = document;
                    self.drop(id, origin.to_string(), reason, detail)
                }
                None => self.keep(document),
            },
            SourceItem::Broken(broken) => {
                self.broken.add(&broken);
                let origin = broken.origin.to_string();
                self.drop(origin.clone(), origin, DropReason::Broken, broken.problem)
            }
        }
    }

    /// Checks the whole and writes the dataset.
    pub(crate) fn finish(self) -> Result<Selected, IngestError> {
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
        Ok(Selected {
            read: self.read,
            written: self.writer.finish(self.options.validation_share)?,
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

    fn keep(&mut self, document: Document) -> Result<(), IngestError> {
        let key = SplitKey::new(self.options.seed, &document.id);
        self.writer.keep(key, &records(document, self.options.chunk_chars))
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

/// A document as records: running texts in chunks, everything else whole.
fn records(document: Document, chunk_chars: u32) -> Vec<TrainingRecord> {
    let TrainingContent::Text { text } = &document.content else {
        return vec![TrainingRecord { document_id: document.id, content: document.content }];
    };
    let chunks = chunks(text, usize::try_from(chunk_chars).unwrap_or(usize::MAX));
    let is_whole = chunks.len() == 1;
    let named = (1..).zip(chunks).map(|(number, chunk): (u32, &str)| {
        let document_id = if is_whole { document.id.clone() } else { format!("{}#{number}", document.id) };
        TrainingRecord { document_id, content: TrainingContent::Text { text: chunk.to_owned() } }
    });
    named.collect()
}
