//! Turns training records into packed rows of tokens with labels.

mod encode;
mod lengths;
mod pack;
mod read;
mod shuffle;

use clara_lifecycle::{digest::Digest, spec::TrainingOptions};
use serde::{Deserialize, Serialize};

use crate::{
    engine::{Batch, IGNORED},
    template::{ChatTemplate, TemplateError},
    tokenizer::{Tokenizer, TokenizerError},
};

pub use lengths::{LengthBin, LengthHistogram};
pub use read::{ReadError, parse_records, read_records};

/// Tokens of one record, or of one piece of a long text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenDocument {
    /// The document that it comes from.
    pub document_id: String,
    /// Token ids.
    pub tokens: Vec<u32>,
    /// For each position the token that should follow, or [`IGNORED`].
    pub labels: Vec<i64>,
}

/// Documents gathered into rows of bounded length.
#[derive(Debug, Clone)]
pub struct Rows {
    documents: Vec<TokenDocument>,
    packed: Vec<Vec<usize>>,
    report: CollateReport,
    shuffle_seed: Option<u64>,
}

/// What became of the records.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CollateReport {
    /// Records given.
    pub records: u64,
    /// Records left out because no token of theirs would be learned.
    pub without_target: u64,
    /// Records left out because they are longer than a row.
    #[serde(default)]
    pub dropped: u64,
    /// Running texts that were cut into pieces.
    pub split: u64,
    /// Other records whose end was cut off.
    pub truncated: u64,
    /// Rows after packing.
    pub rows: u64,
    /// Tokens in all rows.
    pub tokens: u64,
    /// Tokens that are learned.
    pub target_tokens: u64,
    /// How long the records are.
    #[serde(default)]
    pub lengths: LengthHistogram,
}

/// Why records could not be collated.
#[derive(Debug, thiserror::Error)]
pub enum CollateError {
    /// The tokenizer refused a record.
    #[error("the tokenizer refused record {document_id}")]
    Tokenizer {
        /// The document.
        document_id: String,
        /// What it said.
        source: TokenizerError,
    },
    /// The chat template refused a record.
    #[error("the chat template refused record {document_id}")]
    Template {
        /// The document.
        document_id: String,
        /// What it said.
        source: TemplateError,
    },
    /// Nothing is left to learn.
    #[error(
        "no token to learn in {records} records ({without_target} have no answer within {sequence_length} tokens, \
         {dropped} are longer and were dropped); check the data or raise sequence_length"
    )]
    Empty {
        /// Records given.
        records: u64,
        /// Records without a target token.
        without_target: u64,
        /// Records that were left out for their length.
        dropped: u64,
        /// The longest row.
        sequence_length: usize,
    },
}

/// What collation needs of a model.
#[derive(Debug, Clone, Copy)]
pub struct TextTools<'a> {
    /// Turns text into tokens.
    pub tokenizer: &'a Tokenizer,
    /// Turns conversations into text.
    pub chat_template: &'a ChatTemplate,
}

/// Tokenises and packs `records`.
///
/// The result depends on nothing but the arguments: rows are filled best-fit, longest documents first, and stand in the
/// order of their first documents.
///
/// # Errors
/// [`CollateError`]; [`CollateError::Empty`] when no record has a token to learn.
pub fn collate(
    records: &[clara_lifecycle::dataset::TrainingRecord],
    tools: TextTools<'_>,
    options: &TrainingOptions,
) -> Result<Rows, CollateError> {
    let sequence_length = options.sequence_length as usize;
    let mut report = CollateReport { records: records.len() as u64, ..CollateReport::default() };
    let mut documents = Vec::with_capacity(records.len());
    for record in records {
        let limit = encode::Limit { tokens: sequence_length, overlong: options.overlong };
        encode::encode(record, tools, limit, &mut report, &mut documents)?;
    }
    if documents.is_empty() {
        let CollateReport { records, without_target, dropped, .. } = report;
        return Err(CollateError::Empty { records, without_target, dropped, sequence_length });
    }
    let lengths: Vec<usize> = documents.iter().map(|document| document.tokens.len()).collect();
    let rows = if options.packing {
        pack::best_fit(&lengths, sequence_length)
    } else {
        (0..documents.len()).map(|index| vec![index]).collect()
    };
    report.rows = rows.len() as u64;
    report.tokens = lengths.iter().sum::<usize>() as u64;
    report.target_tokens = documents.iter().map(|document| document.target_tokens() as u64).sum();
    Ok(Rows { documents, packed: rows, report, shuffle_seed: options.shuffle.then_some(options.seed) })
}

impl TokenDocument {
    /// Positions with a label.
    pub fn target_tokens(&self) -> usize {
        self.labels.iter().filter(|label| **label != IGNORED).count()
    }
}

impl CollateReport {
    /// Share (0–1) of the tokens that are learned.
    #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^53")]
    pub fn trained_share(&self) -> f64 {
        self.target_tokens as f64 / self.tokens.max(1) as f64
    }
}

impl Rows {
    /// What became of the records.
    pub fn report(&self) -> &CollateReport {
        &self.report
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.packed.len()
    }

    /// Whether there is no row; never true after [`collate`].
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// The rows in the order of an epoch, counted from 0.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.packed.len()).collect();
        if let Some(seed) = self.shuffle_seed {
            shuffle::shuffle(&mut order, seed, epoch);
        }
        order
    }

    /// The tokens, labels and document borders of a row; an empty batch for a row that does not exist.
    pub fn batch(&self, row: usize) -> Batch {
        let mut batch = Batch { tokens: Vec::new(), labels: Vec::new(), documents: Vec::new() };
        for document in self.documents_of(row) {
            let start = batch.tokens.len();
            batch.tokens.extend(&document.tokens);
            batch.labels.extend(&document.labels);
            batch.documents.push(start..batch.tokens.len());
        }
        batch
    }

    /// Tokens of the longest row.
    pub fn longest(&self) -> usize {
        let length = |row| self.documents_of(row).map(|document| document.tokens.len()).sum();
        (0..self.len()).map(length).max().unwrap_or_default()
    }

    /// Pairs of a token and one that it sees: itself and those before it in its document.
    #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^53")]
    pub fn attended(&self) -> f64 {
        let pairs = |length: usize| length as f64 * (length + 1) as f64 / 2.0;
        self.documents.iter().map(|document| pairs(document.tokens.len())).sum()
    }

    /// The documents in a row.
    pub fn documents_of(&self, row: usize) -> impl Iterator<Item = &TokenDocument> {
        self.packed.get(row).into_iter().flatten().filter_map(|index| self.documents.get(*index))
    }

    /// A digest over every token, label and border, in order.
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        for row in 0..self.len() {
            for document in self.documents_of(row) {
                bytes.extend((document.tokens.len() as u64).to_le_bytes());
                bytes.extend(document.tokens.iter().flat_map(|token| token.to_le_bytes()));
                bytes.extend(document.labels.iter().flat_map(|label| label.to_le_bytes()));
            }
            bytes.extend(u64::MAX.to_le_bytes());
        }
        Digest::of(&bytes)
    }
}

#[cfg(test)]
mod tests;
