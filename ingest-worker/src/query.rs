//! Ranks documents by full-text relevance: BM25 over German word stems, umlauts folded, compounds included.

mod index;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use clara_lifecycle::{
    dataset::DropReason,
    spec::IngestOptions,
    text::{fold, words},
};

use crate::filter::Drop;

pub(crate) use index::SearchIndex;

/// German words without weight of their own, folded; they are no search terms unless the query has no others.
pub(crate) const FUNCTION_WORDS: &[&str] = &[
    "aber", "als", "am", "an", "auch", "auf", "aus", "bei", "beim", "bis", "da", "das", "dass", "dem", "den",
    "der", "des", "die", "dies", "diese", "dieser", "dieses", "durch", "ein", "eine", "einem", "einen",
    "einer", "eines", "er", "es", "fuer", "gegen", "hat", "ich", "im", "in", "ist", "kann", "man", "mit",
    "nach", "nicht", "nur", "ob", "oder", "ohne", "sein", "sich", "sie", "sind", "so", "ueber", "um", "und",
    "unter", "vom", "von", "vor", "wann", "was", "welche", "welcher", "welches", "wenn", "wer", "werden",
    "wie", "wird", "wo", "zu", "zum", "zur",
];

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
        let best = scores.first().map_or(1.0, |(_, score)| f64::from(*score));
        let places = (1..)
            .zip(scores)
            .map(|(rank, (document, score))| (document, Place { rank, relevance: f64::from(score) / best }))
            .collect();
        let top_k = options.top_k.map_or(u64::MAX, u64::from);
        Self { places, min_relevance: options.min_relevance, top_k }
    }

    /// Whether no document matches.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The document's place, or why it is left out.
    pub(crate) fn place(&self, document: u64) -> Result<Place, Drop> {
        let Some(place) = self.places.get(&document) else {
            return Err((DropReason::NotRelevant, "holds no word of the query".into()));
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

/// The words of a query that carry meaning, folded; all of them when none does.
fn search_words(query: &str) -> Vec<String> {
    let folded = fold(query);
    let all: Vec<&str> = words(&folded).collect();
    let mut telling: Vec<&str> = all.iter().copied().filter(|word| !FUNCTION_WORDS.contains(word)).collect();
    if telling.is_empty() {
        telling = all;
    }
    telling.into_iter().map(str::to_owned).collect()
}
