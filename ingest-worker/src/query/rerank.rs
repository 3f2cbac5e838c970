//! Ranks the best documents anew by their embeddings, which a server that speaks OpenAI's `/v1/embeddings` makes.

mod client;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use clara_lifecycle::{dataset::RerankReport, spec::RerankOptions};

use self::client::Client;
use crate::{error::IngestError, ingest::IngestObserver, source::Document};

/// Texts of one request.
const BATCH: usize = 32;
/// So much of a document is embedded, in characters; models read little more.
const EMBEDDED_CHARS: usize = 2_000;
/// Longer metadata is no name or heading, in characters, and not embedded.
const HEADING_CHARS: usize = 200;

/// Ranks documents anew; keeps one number per candidate and the texts of one request.
pub(crate) struct Reranker<'a> {
    options: &'a RerankOptions,
    client: Client<'a>,
    query: Vec<f32>,
    /// Document and BM25 score, best first.
    scores: Vec<(u64, f32)>,
    /// Document to its place in `scores`, of the candidates alone.
    candidates: HashMap<u64, usize>,
    similarities: Vec<f32>,
    waiting: Vec<(usize, String)>,
}

impl<'a> Reranker<'a> {
    /// Embeds what is looked for; `scores` are the documents that match by words.
    pub(crate) fn new(
        options: &'a RerankOptions,
        sought: &str,
        mut scores: Vec<(u64, f32)>,
        observer: &'a dyn IngestObserver,
    ) -> Result<Self, IngestError> {
        scores.sort_unstable_by(|(left, left_score), (right, right_score)| {
            right_score.total_cmp(left_score).then(left.cmp(right))
        });
        let count = usize::try_from(options.candidates).unwrap_or(usize::MAX).min(scores.len());
        let candidates = scores.iter().take(count).zip(0..).map(|((document, _), place)| (*document, place));
        let candidates = candidates.collect();
        let mut client = Client::new(options, observer)?;
        let query = client.embed(&[sought])?.pop().unwrap_or_default();
        let similarities = vec![0.0; count];
        Ok(Self { options, client, query, scores, candidates, similarities, waiting: Vec::new() })
    }

    /// Whether this document of the sources is a candidate.
    pub(crate) fn wants(&self, number: u64) -> bool {
        self.candidates.contains_key(&number)
    }

    /// Takes a document of the sources; those that are no candidates are passed over.
    pub(crate) fn take(&mut self, number: u64, document: &Document) -> Result<(), IngestError> {
        if let Some(place) = self.candidates.get(&number) {
            self.waiting.push((*place, embedded_text(document)));
            if self.waiting.len() == BATCH {
                self.embed_waiting()?;
            }
        }
        Ok(())
    }

    /// The new scores, and what the manifest says about them.
    ///
    /// Documents beyond the candidates keep their order behind them: their similarity counts as 0.
    pub(crate) fn finish(mut self) -> Result<(Vec<(u64, f32)>, RerankReport), IngestError> {
        self.embed_waiting()?;
        let best = self.scores.first().map_or(1.0, |(_, score)| *score).max(f32::MIN_POSITIVE);
        let weight = as_score(self.options.weight);
        let similarities = self.similarities.iter().copied().chain(std::iter::repeat(0.0));
        let scores = self.scores.iter().zip(similarities).map(|((document, words), similarity)| {
            (*document, (1.0 - weight) * words / best + weight * similarity)
        });
        let report = RerankReport {
            model: self.options.model.clone(),
            candidates: self.candidates.len() as u64,
            weight: self.options.weight,
        };
        Ok((scores.collect(), report))
    }

    fn embed_waiting(&mut self) -> Result<(), IngestError> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let texts: Vec<&str> = waiting.iter().map(|(_, text)| text.as_str()).collect();
        let vectors = self.client.embed(&texts)?;
        for ((place, _), vector) in waiting.iter().zip(vectors) {
            let similarity: f32 = self.query.iter().zip(&vector).map(|(left, right)| left * right).sum();
            if let Some(slot) = self.similarities.get_mut(*place) {
                // What points away is no more alike than what has nothing to do with it.
                *slot = similarity.max(0.0);
            }
        }
        Ok(())
    }
}

/// Headings and names, then the text, cut.
fn embedded_text(document: &Document) -> String {
    let headings = document.metadata.values().filter(|value| value.chars().count() <= HEADING_CHARS);
    let texts = headings.map(String::as_str).chain(document.content.texts());
    texts.collect::<Vec<_>>().join("\n").chars().take(EMBEDDED_CHARS).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "a share of 0 to 1 loses nothing that matters")]
fn as_score(share: f64) -> f32 {
    share as f32
}
