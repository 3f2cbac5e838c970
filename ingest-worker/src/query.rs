//! Ranks documents by full-text relevance: BM25 over German word stems, umlauts folded, compounds included.

mod compound;
mod index;
mod provision;
mod rerank;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;

use clara_lifecycle::{dataset::DropReason, query::Query, spec::IngestOptions};

use crate::{error::IngestError, filter::Drop};

pub(crate) use index::SearchIndex;
pub(crate) use rerank::Reranker;

/// The documents that match a query, best first.
#[derive(Debug)]
pub(crate) struct Ranking {
    places: HashMap<u64, Place>,
    min_relevance: f64,
    top_k: u64,
}

/// A document's place among the matching ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    /// 1 for the best.
    pub(crate) rank: u64,
    /// Score relative to the best document's (0–1).
    pub(crate) relevance: f64,
}

impl Ranking {
    /// Sorts `scores` (document number, BM25 score) by score, then by document number.
    pub(crate) fn new(mut scores: Vec<(u64, f32)>, options: &IngestOptions) -> Self {
        scores.sort_unstable_by(|(left, left_score), (right, right_score)| {
            right_score.total_cmp(left_score).then(left.cmp(right))
        });
        // Embeddings alone may find that nothing is alike; a share of 0 is then 0.
        let best = scores.first().map_or(1.0, |(_, score)| f64::from(*score)).max(f64::MIN_POSITIVE);
        let places = (1..)
            .zip(scores)
            .map(|(rank, (document, score))| (document, Place { rank, relevance: f64::from(score) / best }))
            .collect();
        let top_k = options.top_k.map_or(u64::MAX, u64::from);
        Self { places, min_relevance: options.min_relevance, top_k }
    }

    /// The document's place, or why it is left out.
    pub(crate) fn place(&self, document: u64) -> Result<Place, Drop> {
        let Some(place) = self.places.get(&document) else {
            return Err((DropReason::NotRelevant, "does not match the query".into()));
        };
        if place.relevance < self.min_relevance {
            let detail =
                format!("relevance {:.3}, expected at least {}", place.relevance, self.min_relevance);
            return Err((DropReason::NotRelevant, detail));
        }
        if place.rank > self.top_k {
            let detail = format!("place {} by relevance, expected at most {}", place.rank, self.top_k);
            return Err((DropReason::BeyondTopK, detail));
        }
        Ok(*place)
    }
}

/// The words, phrases and provisions that a query looks for, as written, without operators and without what it excludes;
/// for servers that know words only.
///
/// # Errors
/// [`IngestError::Query`], as when documents are ranked by it.
pub fn sought_words(query: &str) -> Result<Vec<String>, IngestError> {
    Ok(Query::parse(query)?.positive)
}
