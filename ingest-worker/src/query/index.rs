//! The full-text index of one job: a folder that is filled once, asked once and thrown away.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use clara_lifecycle::text::fold;
use tantivy::{
    DocAddress, Index, IndexWriter, Score, Searcher, TantivyDocument, TantivyError, Term,
    collector::TopDocs,
    indexer::NoMergePolicy,
    query::{BooleanQuery, BoostQuery, DisjunctionMaxQuery, Occur, Query, TermQuery},
    schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions},
    tokenizer::{
        AsciiFoldingFilter, Language, RemoveLongFilter, SimpleTokenizer, Stemmer, TextAnalyzer,
        TokenStream as _,
    },
};

use super::search_words;
use crate::error::IngestError;

/// Memory of the index writer before it writes a segment to disk, in bytes.
const WRITER_BYTES: usize = 64 << 20;
const TOKENIZER: &str = "german";
/// Longer words are not indexed, in bytes.
const LONGEST_WORD_BYTES: usize = 200;
/// A stem this long also matches words that begin with it.
const LEAST_PREFIX_CHARS: usize = 4;
/// A stem this long also matches words that hold it elsewhere; shorter ones occur in too many words by chance.
const LEAST_INNER_CHARS: usize = 6;
/// A compound counts half of the word itself.
const COMPOUND_BOOST: Score = 0.5;
/// At most so many compounds of a stem are searched for; the most frequent ones.
const MOST_COMPOUNDS: usize = 1_000;

/// A full-text index on disk.
pub(crate) struct SearchIndex {
    path: PathBuf,
    index: Index,
    writer: IndexWriter,
    body: Field,
    number: Field,
    documents: u64,
}

impl fmt::Debug for SearchIndex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SearchIndex").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SearchIndex {
    /// An empty index in the empty folder `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, IngestError> {
        std::fs::create_dir_all(path).map_err(IngestError::write(path))?;
        Self::open(path).map_err(ranking_error(path))
    }

    /// Adds a document under its number.
    pub(crate) fn add(&mut self, number: u64, text: &str) -> Result<(), IngestError> {
        let mut document = TantivyDocument::default();
        document.add_text(self.body, fold(text));
        document.add_u64(self.number, number);
        self.documents += 1;
        self.writer.add_document(document).map(|_| ()).map_err(ranking_error(&self.path))
    }

    /// Documents added.
    pub(crate) fn documents(&self) -> u64 {
        self.documents
    }

    /// All documents that hold a word of the query, with their BM25 scores, in no order.
    ///
    /// # Errors
    /// [`IngestError::EmptyQuery`] when the query holds no word.
    pub(crate) fn search(mut self, query: &str) -> Result<Vec<(u64, Score)>, IngestError> {
        let stems = self.stems(query).map_err(ranking_error(&self.path))?;
        if stems.is_empty() {
            return Err(IngestError::EmptyQuery { query: query.to_owned() });
        }
        if self.documents == 0 {
            return Ok(Vec::new());
        }
        self.scores(&stems).map_err(ranking_error(&self.path))
    }

    fn open(path: &Path) -> Result<Self, TantivyError> {
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(TOKENIZER)
            .set_index_option(IndexRecordOption::WithFreqs);
        let mut schema = Schema::builder();
        let body = schema.add_text_field("body", TextOptions::default().set_indexing_options(indexing));
        let number = schema.add_u64_field("number", FAST);
        let index = Index::create_in_dir(path, schema.build())?;
        index.tokenizers().register(TOKENIZER, analyzer());
        // One thread and no merging: the same documents give the same segments, and so the same scores.
        let writer = index.writer_with_num_threads(1, WRITER_BYTES)?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
        Ok(Self { path: path.to_owned(), index, writer, body, number, documents: 0 })
    }

    fn stems(&self, query: &str) -> Result<Vec<String>, TantivyError> {
        let mut analyzer = self.index.tokenizer_for_field(self.body)?;
        let text = search_words(query).join(" ");
        let mut stems: Vec<String> = Vec::new();
        analyzer.token_stream(&text).process(&mut |token| {
            if !stems.contains(&token.text) {
                stems.push(token.text.clone());
            }
        });
        Ok(stems)
    }

    fn scores(&mut self, stems: &[String]) -> Result<Vec<(u64, Score)>, TantivyError> {
        self.writer.commit()?;
        let searcher = self.index.reader()?.searcher();
        let mut terms = Vec::new();
        for stem in stems {
            terms.push((Occur::Should, self.term_query(&searcher, stem)?));
        }
        let most = usize::try_from(searcher.num_docs()).unwrap_or(usize::MAX).max(1);
        let found =
            searcher.search(&BooleanQuery::new(terms), &TopDocs::with_limit(most).order_by_score())?;
        numbers(&searcher, found)
    }

    /// The stem itself or, at half the weight, the best of its compounds.
    fn term_query(&self, searcher: &Searcher, stem: &str) -> Result<Box<dyn Query>, TantivyError> {
        let term_query = |text: &str| {
            let term = Term::from_field_text(self.body, text);
            Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)) as Box<dyn Query>
        };
        let mut alternatives = vec![term_query(stem)];
        for compound in self.compounds(searcher, stem)? {
            alternatives.push(Box::new(BoostQuery::new(term_query(&compound), COMPOUND_BOOST)));
        }
        Ok(Box::new(DisjunctionMaxQuery::new(alternatives)))
    }

    /// Indexed words that are made with `stem`.
    fn compounds(&self, searcher: &Searcher, stem: &str) -> Result<Vec<String>, TantivyError> {
        let mut frequencies: BTreeMap<String, u64> = BTreeMap::new();
        for segment in searcher.segment_readers() {
            let inverted = segment.inverted_index(self.body)?;
            let mut terms = inverted.terms().stream()?;
            while let Some((word, info)) = terms.next() {
                if let Some(word) = str::from_utf8(word).ok().filter(|word| is_compound(word, stem)) {
                    *frequencies.entry(word.to_owned()).or_default() += u64::from(info.doc_freq);
                }
            }
        }
        let mut compounds: Vec<(String, u64)> = frequencies.into_iter().collect();
        // A stable sort: words of equal frequency stay in alphabetical order.
        compounds.sort_by_key(|(_, documents)| std::cmp::Reverse(*documents));
        compounds.truncate(MOST_COMPOUNDS);
        Ok(compounds.into_iter().map(|(word, _)| word).collect())
    }
}

/// Whether `word` begins with `stem` or, for a long stem, holds it anywhere.
fn is_compound(word: &str, stem: &str) -> bool {
    let chars = stem.chars().count();
    let begins = chars >= LEAST_PREFIX_CHARS && word.starts_with(stem);
    word != stem && (begins || (chars >= LEAST_INNER_CHARS && word.contains(stem)))
}

fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(LONGEST_WORD_BYTES))
        .filter(AsciiFoldingFilter)
        .filter(Stemmer::new(Language::German))
        .build()
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
