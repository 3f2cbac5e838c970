//! Training datasets: the records of `train.jsonl` and `validation.jsonl`, and their `manifest.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// One line of `train.jsonl` or `validation.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// The document it was made from.
    pub document_id: String,
    /// What is learned.
    #[serde(flatten)]
    pub content: TrainingContent,
}

/// What a record teaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TrainingContent {
    /// A conversation; only the assistant's turns are learned.
    Chat {
        /// The turns in order.
        messages: Vec<ChatMessage>,
    },
    /// A continuation; only the completion is learned.
    PromptCompletion {
        /// What is given.
        prompt: String,
        /// What is learned.
        completion: String,
    },
    /// Running text; all of it is learned.
    Text {
        /// The text.
        text: String,
    },
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// Why a document was left out of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The line was not valid JSON or lacked the mapped fields.
    Broken,
    /// Another domain than the job's.
    OtherDomain,
    /// The query did not match it.
    NotRelevant,
    /// Relevant, but outside of the best `top_k`.
    BeyondTopK,
    /// Shorter than the minimum length.
    TooShort,
    /// Longer than the maximum length.
    TooLong,
    /// The same text as an earlier document, blanks and case aside.
    Duplicate,
    /// It shares too much text with a golden sample.
    GoldenOverlap,
}

/// `manifest.json`: what a dataset holds, where it came from and what was left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetManifest {
    /// Layout of this file; now 1.
    pub format: u32,
    /// The job's domain.
    pub domain: String,
    /// The query that ranked the documents, if any.
    pub query: Option<String>,
    /// The sources as given.
    pub sources: Vec<String>,
    /// SHA-256 over the source files.
    pub source_digest: Digest,
    /// Documents read, broken lines included.
    pub documents_read: u64,
    /// Documents kept.
    pub documents_kept: u64,
    /// Documents left out, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Records in `train.jsonl`.
    pub train_records: u64,
    /// Records in `validation.jsonl`.
    pub validation_records: u64,
    /// SHA-256 of `train.jsonl`.
    pub train_digest: Digest,
    /// SHA-256 of `validation.jsonl`.
    pub validation_digest: Digest,
    /// How the golden dataset was kept out.
    pub golden_overlap: GoldenOverlapReport,
}

/// How the golden dataset was kept out of the training data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenOverlapReport {
    /// The golden dataset as `id@version`.
    pub golden_dataset: String,
    /// Its digest.
    pub golden_digest: Digest,
    /// Words per compared n-gram.
    pub ngram_words: u32,
    /// A document is dropped when at least this share (0–1) of a sample's n-grams occur in it.
    pub limit: f64,
    /// The documents that were dropped, with the sample they overlap with.
    pub removed: Vec<GoldenOverlap>,
}

/// One document that shares too much text with a golden sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenOverlap {
    /// The dropped document.
    pub document_id: String,
    /// The golden sample.
    pub sample_id: String,
    /// Share (0–1) of the sample's n-grams that occur in the document.
    pub share: f64,
}
