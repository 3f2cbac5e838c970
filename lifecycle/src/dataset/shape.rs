//! What `manifest.json` says about how documents became records.

use serde::{Deserialize, Serialize};

use crate::spec::{RecordOrder, RecordShape};

/// How documents became records, and how these were mixed, ordered, split and counted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ShapeReport {
    /// What running text became.
    pub records: RecordShape,
    /// Order of the training records.
    pub order: RecordOrder,
    /// Running texts that stayed as they are, for want of a heading or of a question that fits.
    pub left_as_text: u64,
    /// Templates of `ingest.shape.questions` that no document could fill.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unused_questions: Vec<String>,
    /// The sources and their parts of the mixture, when `ingest.shape.weights` asks for one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mixture: Vec<MixtureShare>,
    /// How clusters were split, when `ingest.shape.cluster` names a field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterReport>,
    /// How embeddings ranked the documents anew, when `ingest.rerank` asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<RerankReport>,
    /// Tokens of the records by the base model's tokenizer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenReport>,
    /// Why tokens were not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_not_counted: Option<String>,
}

/// One source's part of the mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MixtureShare {
    /// The source as given.
    pub source: String,
    /// Share (0–1) of the documents that was asked for; none for a source that is taken whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Documents that passed the filters.
    pub available: u64,
    /// Documents kept of them.
    pub kept: u64,
    /// Share (0–1) of all kept documents.
    pub share: f64,
}

/// How clusters of documents were split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterReport {
    /// The field whose equal values make a cluster.
    pub field: String,
    /// Clusters among the kept documents.
    pub clusters: u64,
    /// Clusters that are held out for validation.
    pub validation_clusters: u64,
    /// Kept documents without the field; each was split by itself.
    pub documents_without: u64,
}

/// How embeddings ranked the documents anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RerankReport {
    /// Model that embedded.
    pub model: String,
    /// Documents that were ranked anew.
    pub candidates: u64,
    /// Share (0–1) of the embeddings in the score.
    pub weight: f64,
}

/// Tokens of all records, training and validation; special tokens and chat templates are not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenReport {
    /// Tokens of the training records.
    pub train: u64,
    /// Tokens of the validation records.
    pub validation: u64,
    /// Tokens that half of the records do not exceed.
    pub p50: u32,
    /// Tokens that 95 of 100 records do not exceed.
    pub p95: u32,
    /// Tokens of the longest record.
    pub longest: u32,
    /// The longest record.
    pub longest_record: String,
}
