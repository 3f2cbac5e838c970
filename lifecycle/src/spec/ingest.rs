//! What a user asks of the ingest stage: sources, query, cleaning, shaping.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::shown::shown;

/// Where training data comes from, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestOptions {
    /// Files, folders and globs, `http(s)://`, `s3://` and `gs://` URLs, and `@NAME` for the worker's settings `[sources.NAME]`.
    pub sources: Vec<String>,
    /// Names of the fields in records.
    pub fields: FieldNames,
    /// Ranks documents by relevance and keeps the matching ones; without it all are kept.
    pub query: Option<String>,
    /// Keeps at most this many of the most relevant documents.
    pub top_k: Option<u32>,
    /// Least BM25 score, relative to the best document's (0–1).
    pub min_relevance: f64,
    /// Ranks the documents that match the query anew, by their embeddings.
    pub rerank: Option<RerankOptions>,
    /// Takes only what changed since the family's newest dataset, where the source can tell.
    pub since_last: bool,
    /// Reads the sources anew, even where a stored dataset of the same sources and options could be taken.
    pub fresh: bool,
    /// Shortest document in characters.
    pub min_chars: u32,
    /// Longest document in characters; longer ones are dropped.
    pub max_chars: u32,
    /// Longest record in characters; longer running texts are cut at sentence borders.
    pub chunk_chars: u32,
    /// Words per n-gram of the golden-overlap check.
    pub overlap_ngram_words: u32,
    /// Share (0–1) of a golden sample's n-grams that a document may contain.
    pub overlap_limit: f64,
    /// Share (0–1) of the documents held out for validation.
    pub validation_share: f64,
    /// Share (0–1) of broken documents beyond which the stage fails.
    pub max_broken_share: f64,
    /// Seed of every choice: split, mixture, order, templates.
    pub seed: u64,
    /// How documents are mended and which of them are dropped.
    pub clean: CleanOptions,
    /// How documents become records.
    pub shape: ShapeOptions,
}

/// Names of the fields in records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FieldNames {
    /// Running text.
    pub text: String,
    /// Instruction or question.
    pub instruction: String,
    /// Optional input to an instruction.
    pub input: String,
    /// Answer to an instruction.
    pub output: String,
    /// Conversation: a list of `{role, content}`.
    pub messages: String,
    /// Prompt of a completion.
    pub prompt: String,
    /// Completion of a prompt.
    pub completion: String,
    /// Document id; without it `file:line` is used.
    pub id: String,
    /// Domain of the document; documents without it pass the domain filter.
    pub domain: String,
    /// Licence of the document.
    pub licence: String,
    /// Classification of the document, such as `public` or `internal`.
    pub classification: String,
}

/// How documents are mended, and which of them are dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CleanOptions {
    /// Composes Unicode (NFC), repairs wrongly decoded text (`fÃ¼r` becomes `für`), removes control characters.
    pub normalize: bool,
    /// Removes page headers, footers and page numbers that repeat within a document.
    pub boilerplate: bool,
    /// Languages to keep, as ISO 639-1 codes such as `de`; empty keeps all.
    pub languages: Vec<String>,
    /// Similarity (0–1, Jaccard of word 5-grams) to an earlier document from which a document is dropped; 1 drops none.
    pub near_duplicate_limit: f64,
    /// Similarity (0–1) to a golden answer from which a document is dropped; 1 drops none.
    pub golden_similarity_limit: f64,
    /// Drops documents that an earlier dataset of the adapter's family holds, near-duplicates included.
    pub skip_known: bool,
    /// Least quality (0–1); 0 keeps all.
    pub min_quality: f64,
    /// Share (0–1) of a document's text that repeated lines and phrases may make; 1 keeps all.
    pub repetition_limit: f64,
    /// What becomes of e-mail addresses, phone numbers, IBANs, tax numbers and dates of birth.
    pub personal_data: PersonalData,
    /// Licences to keep; empty keeps all. A document that names none is dropped when this is given.
    pub licences: Vec<String>,
    /// Classifications to keep; empty keeps all. A document that names none is dropped when this is given.
    pub classifications: Vec<String>,
}

/// What becomes of personal data; names of people are left as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonalData {
    /// Replaced by a word for its kind, such as `[IBAN]`.
    #[default]
    Mask,
    /// Left as it is.
    Keep,
    /// Drops the document.
    Drop,
}

/// How documents become records.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShapeOptions {
    /// What running text becomes.
    pub records: RecordShape,
    /// Questions asked of a running text, as Jinja templates over its metadata, `id` and `domain`; one is chosen for each document. Empty: those
    /// that come with Clara.
    pub questions: Vec<String>,
    /// Whether an answer names its source after the text.
    pub cite: bool,
    /// Order of the training records.
    pub order: RecordOrder,
    /// Field whose equal values keep documents on one side of the split, such as the statute.
    pub cluster: Option<String>,
    /// Share of the documents that each source is to make, by the source as given; sources without one are taken whole.
    pub weights: BTreeMap<String, f64>,
}

/// What running text becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordShape {
    /// Running text, all of it learned.
    #[default]
    Text,
    /// Its heading is given, the text is learned.
    Completion,
    /// A question is given, the text is learned as its answer.
    Instruction,
}

/// Order of the training records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordOrder {
    /// As the sources give them.
    #[default]
    Source,
    /// Drawn by the seed.
    Shuffle,
    /// Short and simple ones first.
    Curriculum,
}

/// Ranking by embeddings of a server that speaks OpenAI's `/v1/embeddings`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankOptions {
    /// Base URL, with `/v1`.
    pub endpoint: String,
    /// Model that embeds.
    pub model: String,
    /// Environment variable of the ingest-worker with the key. Default: none.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// So many of the best documents by words are ranked anew. Default 1,000.
    #[serde(default = "candidates")]
    pub candidates: u32,
    /// Share (0–1) of the embeddings in the new score; the rest is by words. Default 0.5.
    #[serde(default = "weight")]
    pub weight: f64,
}

fn candidates() -> u32 {
    1000
}

fn weight() -> f64 {
    0.5
}

impl Default for FieldNames {
    fn default() -> Self {
        Self {
            text: "text".into(),
            instruction: "instruction".into(),
            input: "input".into(),
            output: "output".into(),
            messages: "messages".into(),
            prompt: "prompt".into(),
            completion: "completion".into(),
            id: "id".into(),
            domain: "domain".into(),
            licence: "license".into(),
            classification: "classification".into(),
        }
    }
}

impl IngestOptions {
    /// The same as they may be stored beside data and shown: see [`shown`].
    #[must_use]
    pub fn shown(&self) -> Self {
        let mut told = self.clone();
        for source in &mut told.sources {
            *source = shown(source).into_owned();
        }
        let weights = &self.shape.weights;
        told.shape.weights =
            weights.iter().map(|(source, weight)| (shown(source).into_owned(), *weight)).collect();
        if let Some(rerank) = &mut told.rerank {
            rerank.endpoint = shown(&rerank.endpoint).into_owned();
        }
        told
    }
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            fields: FieldNames::default(),
            query: None,
            top_k: None,
            min_relevance: 0.0,
            rerank: None,
            since_last: false,
            fresh: false,
            min_chars: 40,
            max_chars: 100_000,
            chunk_chars: 2_000,
            overlap_ngram_words: 8,
            overlap_limit: 0.2,
            validation_share: 0.1,
            max_broken_share: 0.01,
            seed: 42,
            clean: CleanOptions::default(),
            shape: ShapeOptions::default(),
        }
    }
}

impl Default for CleanOptions {
    fn default() -> Self {
        Self {
            normalize: true,
            boilerplate: true,
            languages: Vec::new(),
            near_duplicate_limit: 0.85,
            golden_similarity_limit: 0.8,
            skip_known: false,
            min_quality: 0.0,
            repetition_limit: 0.5,
            personal_data: PersonalData::default(),
            licences: Vec::new(),
            classifications: Vec::new(),
        }
    }
}
