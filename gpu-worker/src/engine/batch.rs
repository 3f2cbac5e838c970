//! A batch after its checks: what the passes can trust.

use crate::{
    engine::{Batch, EngineError, IGNORED},
    model::ModelConfig,
};

/// A checked batch.
#[derive(Debug)]
pub(in crate::engine) struct CheckedBatch {
    /// Position of each token in its document.
    pub(in crate::engine) positions: Vec<usize>,
    /// Length of each document, none empty.
    pub(in crate::engine) documents: Vec<usize>,
    /// Positions that have a label, at least one.
    pub(in crate::engine) labelled: Vec<usize>,
    /// Their labels.
    pub(in crate::engine) labels: Vec<u32>,
}

impl CheckedBatch {
    /// Checks that documents cover the tokens in order, and that tokens and labels are in the vocabulary.
    pub(in crate::engine) fn new(batch: &Batch, config: &ModelConfig) -> Result<Self, EngineError> {
        let count = batch.tokens.len();
        if batch.labels.len() != count {
            let reason = format!("{} labels for {count} tokens; give one per token", batch.labels.len());
            return Err(EngineError::Batch { reason });
        }
        let (positions, documents) = cover(batch, config)?;
        let range =
            |token, position| EngineError::TokenRange { token, position, vocab_size: config.vocab_size };
        if let Some(position) = batch.tokens.iter().position(|token| *token as usize >= config.vocab_size) {
            let token = batch.tokens.get(position).copied().unwrap_or_default();
            return Err(range(i64::from(token), position));
        }
        let (mut labelled, mut labels) = (Vec::new(), Vec::new());
        for (position, label) in
            batch.labels.iter().copied().enumerate().filter(|(_, label)| *label != IGNORED)
        {
            let known = u32::try_from(label).ok().filter(|label| (*label as usize) < config.vocab_size);
            labels.push(known.ok_or_else(|| range(label, position))?);
            labelled.push(position);
        }
        if labels.is_empty() {
            return Err(EngineError::NoTargetTokens { positions: count });
        }
        Ok(Self { positions, documents, labelled, labels })
    }
}

fn cover(batch: &Batch, config: &ModelConfig) -> Result<(Vec<usize>, Vec<usize>), EngineError> {
    let (mut positions, mut documents) = (Vec::with_capacity(batch.tokens.len()), Vec::new());
    for document in &batch.documents {
        if document.start != positions.len() || document.is_empty() || document.end > batch.tokens.len() {
            let (covered, count) = (positions.len(), batch.tokens.len());
            let reason = format!(
                "document {document:?} does not continue the {covered} tokens before it within {count}; \
                 documents must be non-empty and cover the tokens in order"
            );
            return Err(EngineError::Batch { reason });
        }
        if document.len() > config.max_positions {
            return Err(EngineError::SequenceTooLong {
                length: document.len(),
                max_positions: config.max_positions,
            });
        }
        positions.extend(0..document.len());
        documents.push(document.len());
    }
    if positions.len() != batch.tokens.len() {
        let reason = format!("documents cover {} of {} tokens", positions.len(), batch.tokens.len());
        return Err(EngineError::Batch { reason });
    }
    Ok((positions, documents))
}
