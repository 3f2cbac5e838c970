//! The full-text index of one job: a folder that is filled once, asked once and thrown away.

mod build;

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
};

use clara_lifecycle::{query::Query, text::fold};
use tantivy::{
    DocAddress, Index, IndexWriter, Score, Searcher, TantivyDocument, TantivyError,
    collector::{DocSetCollector, TopDocs},
    indexer::NoMergePolicy,
    schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions},
    tokenizer::{AsciiFoldingFilter, Language, RemoveLongFilter, SimpleTokenizer, Stemmer, TextAnalyzer},
};

use self::build::{QueryBuilder, provision_term};
use super::provision::Provisions;
use crate::{error::IngestError, source::Document};

/// Memory of the index writer before it writes a segment to disk, in bytes.
const WRITER_BYTES: usize = 64 << 20;
const TOKENIZER: &str = "german";
/// Longer words are not indexed, in bytes.
const LONGEST_WORD_BYTES: usize = 200;
/// A full-text index on disk.
pub(crate) struct SearchIndex {
    path: PathBuf,
    asked: Query,
    index: Index,
    writer: IndexWriter,
    body: Field,
    /// How documents have to do with the provisions of the query.
    provisions: Field,
    number: Field,
    documents: u64,
}

impl fmt::Debug for SearchIndex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SearchIndex").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SearchIndex {
    /// An empty index in the empty folder `path`, made for one query.
    pub(crate) fn create(path: &Path, asked: Query) -> Result<Self, IngestError> {
        std::fs::create_dir_all(path).map_err(IngestError::write(path))?;
        Self::open(path, asked).map_err(ranking_error(path))
    }

    /// Adds a document under its number.
    pub(crate) fn add(&mut self, number: u64, document: &Document) -> Result<(), IngestError> {
        let mut entry = TantivyDocument::default();
        entry.add_text(self.body, fold(&document.searchable_text()));
        entry.add_u64(self.number, number);
        if !self.asked.provisions.is_empty() {
            let provisions = Provisions::of(document, &self.asked.provisions);
            for (place, provision) in self.asked.provisions.iter().enumerate() {
                if let Some(relation) = provisions.relation(provision) {
                    entry.add_text(self.provisions, provision_term(place, relation));
                }
            }
        }
        self.documents += 1;
        self.writer.add_document(entry).map(|_| ()).map_err(ranking_error(&self.path))
    }

    /// Documents added.
    pub(crate) fn documents(&self) -> u64 {
        self.documents
    }

    /// All documents that match the query, with their BM25 scores, in no order.
    pub(crate) fn search(mut self) -> Result<Vec<(u64, Score)>, IngestError> {
        if self.documents == 0 {
            return Ok(Vec::new());
        }
        self.scores().map_err(ranking_error(&self.path))
    }

    fn open(path: &Path, asked: Query) -> Result<Self, TantivyError> {
        let recorded = if asked.has_phrases {
            IndexRecordOption::WithFreqsAndPositions
        } else {
            IndexRecordOption::WithFreqs
        };
        let indexing = |tokenizer, recorded| {
            let indexing = TextFieldIndexing::default()
                .set_tokenizer(tokenizer)
                .set_index_option(recorded)
                // The number of cited provisions says nothing about how well one of them matches.
                .set_fieldnorms(tokenizer == TOKENIZER);
            TextOptions::default().set_indexing_options(indexing)
        };
        let mut schema = Schema::builder();
        let body = schema.add_text_field("body", indexing(TOKENIZER, recorded));
        let provisions = schema.add_text_field("provisions", indexing("raw", IndexRecordOption::Basic));
        let number = schema.add_u64_field("number", FAST);
        let index = Index::create_in_dir(path, schema.build())?;
        index.tokenizers().register(TOKENIZER, analyzer());
        // One thread and no merging: the same documents give the same segments, and so the same scores.
        let writer = index.writer_with_num_threads(1, WRITER_BYTES)?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
        Ok(Self { path: path.to_owned(), asked, index, writer, body, provisions, number, documents: 0 })
    }

    fn scores(&mut self) -> Result<Vec<(u64, Score)>, TantivyError> {
        self.writer.commit()?;
        let searcher = self.index.reader()?.searcher();
        let builder = QueryBuilder {
            searcher: &searcher,
            analyzer: self.index.tokenizer_for_field(self.body)?,
            body: self.body,
            provisions: self.provisions,
            sought: Vec::new(),
            is_excluding: false,
        };
        let built = builder.build(&self.asked.root)?;
        let most = usize::try_from(searcher.num_docs()).unwrap_or(usize::MAX).max(1);
        let mut found = searcher.search(&*built.query, &TopDocs::with_limit(most).order_by_score())?;
        if let Some(sections) = built.sections {
            put_first(&mut found, &searcher.search(&*sections, &DocSetCollector)?);
        }
        numbers(&searcher, found)
    }
}

fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(LONGEST_WORD_BYTES))
        .filter(AsciiFoldingFilter)
        .filter(Stemmer::new(Language::German))
        .build()
}

/// Adds the best score of all others to that of the sections that a query names: who cites a provision wants it first, however often
/// others hold the words beside it.
fn put_first(found: &mut [(Score, DocAddress)], sections: &HashSet<DocAddress>) {
    let others = found.iter().filter(|(_, address)| !sections.contains(address));
    let best = others.map(|(score, _)| *score).fold(0.0, Score::max);
    for (score, _) in found.iter_mut().filter(|(_, address)| sections.contains(address)) {
        *score += best;
    }
}

fn numbers(searcher: &Searcher, found: Vec<(Score, DocAddress)>) -> Result<Vec<(u64, Score)>, TantivyError> {
    let mut columns = Vec::new();
    for segment in searcher.segment_readers() {
        columns.push(segment.fast_fields().u64("number")?);
    }
    let mut scores = Vec::with_capacity(found.len());
    for (score, address) in found {
        let column = usize::try_from(address.segment_ord).ok().and_then(|segment| columns.get(segment));
        let number = column
            .and_then(|column| column.first(address.doc_id))
            .ok_or_else(|| TantivyError::InternalError(format!("document {address:?} has no number")))?;
        scores.push((number, score));
    }
    Ok(scores)
}

fn ranking_error(path: &Path) -> impl FnOnce(TantivyError) -> IngestError {
    move |source| IngestError::Ranking { path: path.to_owned(), source: Box::new(source) }
}
