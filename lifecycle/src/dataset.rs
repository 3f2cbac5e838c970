//! Training datasets: the records of `train.jsonl` and `validation.jsonl`, and their `manifest.json`.

mod mend;
mod shape;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, spec::IngestOptions};

pub use mend::{Mend, MendCount};
pub use shape::{ClusterReport, MixtureShare, RerankReport, ShapeReport, TokenReport};

/// One line of `train.jsonl` or `validation.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// The document it was made from; `id#n` names the n-th chunk, from 1, of a long document.
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

impl TrainingContent {
    /// All texts in the order in which a reader meets them, without roles.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::Chat { messages } => messages.iter().map(|message| message.content.as_str()).collect(),
            Self::PromptCompletion { prompt, completion } => vec![prompt, completion],
            Self::Text { text } => vec![text],
        }
    }

    /// Length in characters, blanks around each text aside.
    pub fn chars(&self) -> usize {
        self.texts().iter().map(|text| text.trim().chars().count()).sum()
    }
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
    /// Its licence or classification is not among those asked for.
    NotAllowed,
    /// In another language than those asked for.
    OtherLanguage,
    /// Shorter than the minimum length.
    TooShort,
    /// Longer than the maximum length.
    TooLong,
    /// Repeats itself too much.
    Repetitive,
    /// Of too little quality.
    LowQuality,
    /// Holds personal data.
    PersonalData,
    /// The same text as an earlier document, blanks and case aside.
    Duplicate,
    /// Nearly the same text as an earlier document.
    NearDuplicate,
    /// An earlier dataset of the family holds it.
    Known,
    /// It shares too much text with a golden sample.
    GoldenOverlap,
    /// Its source already makes its share of the mixture.
    BeyondShare,
}

impl DropReason {
    /// All reasons, in the order in which the filters run.
    pub const ALL: [Self; 16] = [
        Self::Broken,
        Self::OtherDomain,
        Self::NotAllowed,
        Self::NotRelevant,
        Self::BeyondTopK,
        Self::TooShort,
        Self::TooLong,
        Self::OtherLanguage,
        Self::Repetitive,
        Self::LowQuality,
        Self::PersonalData,
        Self::Duplicate,
        Self::NearDuplicate,
        Self::Known,
        Self::GoldenOverlap,
        Self::BeyondShare,
    ];

    /// The name in `manifest.json`, in `dropped.jsonl.zst` and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::OtherDomain => "other_domain",
            Self::NotRelevant => "not_relevant",
            Self::BeyondTopK => "beyond_top_k",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::Duplicate => "duplicate",
            Self::GoldenOverlap => "golden_overlap",
            Self::NotAllowed => "not_allowed",
            Self::OtherLanguage => "other_language",
            Self::Repetitive => "repetitive",
            Self::LowQuality => "low_quality",
            Self::PersonalData => "personal_data",
            Self::NearDuplicate => "near_duplicate",
            Self::Known => "known",
            Self::BeyondShare => "beyond_share",
        }
    }
}

/// A text that names no reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a reason to drop a document")]
pub struct UnknownDropReason {
    /// The text as given.
    pub found: String,
}

impl std::str::FromStr for DropReason {
    type Err = UnknownDropReason;

    fn from_str(text: &str) -> Result<Self, UnknownDropReason> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| UnknownDropReason { found: text.to_owned() })
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One line of `dropped.jsonl.zst`: a document that was left out; never holds its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedDocument {
    /// The document; a broken one is named by its place.
    pub document_id: String,
    /// Where it was read: `file:line`, or `file` where the file is one document.
    pub origin: String,
    /// Why it was left out.
    pub reason: DropReason,
    /// What was found and what was expected.
    pub detail: String,
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
    /// SHA-256 over names and contents of the source files; where they lie does not matter.
    pub source_digest: Digest,
    /// The files that were read, in order; what a server gave counts as a file of the server's name.
    pub source_files: Vec<SourceFileEntry>,
    /// The servers and files elsewhere that were read, in order.
    #[serde(default)]
    pub remote_sources: Vec<RemoteSourceEntry>,
    /// Files in source folders that are of no known kind and were not read.
    pub skipped_files: Vec<String>,
    /// The ten most relevant documents, best first; empty without a query.
    pub most_relevant: Vec<RankedDocument>,
    /// Documents read, broken ones included.
    pub documents_read: u64,
    /// Documents kept.
    pub documents_kept: u64,
    /// Documents left out, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// What was mended in the documents, by kind, before they were kept or left out.
    #[serde(default)]
    pub mended: BTreeMap<Mend, MendCount>,
    /// For each reason the first ten documents that were left out.
    #[serde(default)]
    pub dropped_samples: BTreeMap<DropReason, Vec<String>>,
    /// Kept documents that are held out for validation.
    pub validation_documents: u64,
    /// Records in `train.jsonl`.
    pub train_records: u64,
    /// Records in `validation.jsonl`.
    pub validation_records: u64,
    /// SHA-256 of `train.jsonl`.
    pub train_digest: Digest,
    /// SHA-256 of `validation.jsonl`.
    pub validation_digest: Digest,
    /// How the golden dataset was kept out; absent when there was none and nothing was compared.
    pub golden_overlap: Option<GoldenOverlapReport>,
    /// What was asked for; absent in datasets of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<IngestOptions>,
    /// Digest of everything that the dataset follows from; absent in datasets of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// How documents became records.
    #[serde(default)]
    pub shape: ShapeReport,
}

/// One file that a dataset was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFileEntry {
    /// Path below the given source, with `/` between parts.
    pub name: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the content.
    pub digest: Digest,
}

/// A source that documents were fetched from before they were read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoteSourceEntry {
    /// As the job names it, such as `@gesetze` or `s3://bucket/prefix/`.
    pub source: String,
    /// Documents that a server gave, broken ones included; files of a URL.
    pub fetched: u64,
    /// Documents that the server itself gave in a form that cannot be understood.
    pub broken: u64,
    /// Documents that the server gave again and that were taken once.
    pub repeated: u64,
    /// What a later dataset needs to take only what changed since; nothing where the source cannot tell.
    pub state: Option<serde_json::Value>,
}

/// A document and how well the query matches it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankedDocument {
    /// The document.
    pub document_id: String,
    /// Score relative to the best document's (0–1).
    pub relevance: f64,
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
    /// A document is dropped when a passage is at least this similar (0–1) to an answer; 1 drops none.
    #[serde(default = "whole")]
    pub similarity_limit: f64,
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
    /// What the share is of.
    #[serde(default)]
    pub measure: OverlapMeasure,
    /// Share (0–1) of the sample's n-grams that occur in the document, or similarity of a passage to its answer.
    pub share: f64,
}

/// How an overlap with a golden sample was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverlapMeasure {
    /// N-grams of the prompt or the answer that occur in the document: copies.
    #[default]
    Ngrams,
    /// Words of the answer that stand together in a passage, in whatever order: paraphrases.
    Answer,
}

fn whole() -> f64 {
    1.0
}
