//! Compares the logits of an export with those of the adapter on its base model.

use std::sync::Arc;

use serde::Serialize;

use super::{ExportError, WeightType};
use crate::{
    collate::Rows,
    engine::{AdapterWeights, Decoder as _, EngineError, reference::ReferenceDecoder},
    model::BaseModel,
    tokenizer::Tokenizer,
};

/// Read in every comparison: German and English, prose, law, numbers and code.
const TEXTS: [&str; 6] = [
    "Die Baugenehmigung ist zu erteilen, wenn dem Vorhaben keine öffentlich-rechtlichen Vorschriften entgegenstehen.",
    "Frage: Wie lange ist die Frist für einen Widerspruch? Antwort: Die Frist beträgt einen Monat, § 70 Abs. 1 VwGO.",
    "Am 3. Oktober 1990 zählte die Stadt 81 274 Einwohner; heute sind es etwa 96 500.",
    "The court held that the notice had been served in time, and dismissed the appeal.",
    "Q: What does a low-rank adapter change? A: It adds the product of two small matrices to a frozen weight.",
    "fn main() { println!(\"{}\", (1..=10).sum::<u32>()); }",
];
/// Tokens of one text at most.
const TOKENS: usize = 48;
/// Texts of the caller that are taken.
const OWN_TEXTS: usize = 10;
const ADAPTER: &str = "adapter";

/// Token sequences to compare logits on.
#[derive(Debug, Clone)]
pub struct Samples {
    texts: Vec<String>,
    sequences: Vec<Vec<u32>>,
    limit: usize,
}

impl Samples {
    /// The texts that are always read, and the first of `own`, cut to 48 tokens each.
    ///
    /// # Errors
    /// [`ExportError::Text`].
    pub fn of_texts(
        tokenizer: &Tokenizer,
        own: &[String],
        max_positions: usize,
    ) -> Result<Self, ExportError> {
        let own = own.iter().take(OWN_TEXTS).cloned();
        let texts: Vec<String> = TEXTS.iter().map(|text| (*text).to_owned()).chain(own).collect();
        let limit = TOKENS.min(max_positions);
        let sequences = read(tokenizer, &texts, limit)?;
        Ok(Self { texts, sequences, limit })
    }

    /// The first documents of collated rows, cut to 48 tokens each.
    pub fn of_rows(rows: &Rows) -> Self {
        let documents = (0..rows.len()).flat_map(|row| rows.documents_of(row)).take(OWN_TEXTS);
        let sequences = documents
            .map(|document| document.tokens.iter().take(TOKENS).copied().collect())
            .filter(|tokens: &Vec<u32>| !tokens.is_empty());
        Self { texts: Vec::new(), sequences: sequences.collect(), limit: TOKENS }
    }

    /// Whether a tokenizer gives the same tokens for the texts.
    pub(super) fn are_read_by(&self, tokenizer: &Tokenizer) -> Result<bool, ExportError> {
        Ok(read(tokenizer, &self.texts, self.limit)? == self.sequences)
    }

    /// Logits `[vocabulary]` after each token, sequence by sequence.
    fn logits(
        &self,
        base: &Arc<BaseModel>,
        adapter: Option<&AdapterWeights>,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let mut decoder = ReferenceDecoder::new(Arc::clone(base))?.exact();
        if let Some(adapter) = adapter {
            decoder.add_adapter(ADAPTER, adapter)?;
        }
        let name = adapter.map(|_| ADAPTER);
        let mut open = Vec::with_capacity(self.sequences.len());
        for tokens in &self.sequences {
            open.push((decoder.open(name)?, tokens.as_slice(), Vec::with_capacity(tokens.len())));
        }
        for position in 0..self.limit {
            let next: Vec<_> = open
                .iter()
                .filter_map(|(id, tokens, _)| Some((*id, tokens.get(position..=position)?)))
                .collect();
            let mut answers = decoder.extend(&next)?.into_iter();
            for (_, _, logits) in open.iter_mut().filter(|(_, tokens, _)| position < tokens.len()) {
                logits.extend(answers.next());
            }
        }
        Ok(open.into_iter().flat_map(|(_, _, logits)| logits).collect())
    }
}

fn read(tokenizer: &Tokenizer, texts: &[String], limit: usize) -> Result<Vec<Vec<u32>>, ExportError> {
    let mut sequences = Vec::with_capacity(texts.len());
    for text in texts {
        let mut tokens = tokenizer.encode_document(text).map_err(ExportError::Text)?;
        tokens.truncate(limit);
        if !tokens.is_empty() {
            sequences.push(tokens);
        }
    }
    Ok(sequences)
}

/// What the adapter gives on its base model, and what the bare base model does.
#[derive(Debug)]
pub(super) struct Expected {
    logits: Vec<Vec<f32>>,
    /// Largest magnitude of a logit.
    largest: f64,
    /// Mean magnitude of what the adapter changes in a logit.
    effect: f64,
}

impl Expected {
    pub(super) fn of(
        base: &Arc<BaseModel>,
        adapter: &AdapterWeights,
        samples: &Samples,
    ) -> Result<Self, EngineError> {
        let logits = samples.logits(base, Some(adapter))?;
        let without = samples.logits(base, None)?;
        let largest = logits.iter().flatten().fold(0.0_f64, |most, logit| most.max(f64::from(logit.abs())));
        let (_, effect) = differences(&logits, &without);
        Ok(Self { logits, largest, effect })
    }
}

/// How far the logits of an export are from those of the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LogitComparison {
    /// Sequences read.
    pub sequences: usize,
    /// Tokens in them; after each, all logits are compared.
    pub positions: usize,
    /// Largest magnitude of a logit of the adapter.
    pub largest_logit: f64,
    /// Mean magnitude of what the adapter changes in a logit of the bare base model.
    pub adapter_effect: f64,
    /// Largest difference of a logit.
    pub max_logit_difference: f64,
    /// Mean difference of a logit.
    pub mean_logit_difference: f64,
    /// Share (0–1) of the positions with the same most likely token.
    pub same_top_token: f64,
}

/// Reads the samples with a model, under an adapter or none, and compares.
#[expect(clippy::cast_precision_loss, reason = "a count of tokens")]
pub(super) fn compare(
    expected: &Expected,
    base: &Arc<BaseModel>,
    adapter: Option<&AdapterWeights>,
    samples: &Samples,
) -> Result<LogitComparison, EngineError> {
    let found = samples.logits(base, adapter)?;
    let (max_logit_difference, mean_logit_difference) = differences(&expected.logits, &found);
    let positions = expected.logits.len();
    let same = expected.logits.iter().zip(&found).filter(|(one, other)| top(one) == top(other)).count();
    Ok(LogitComparison {
        sequences: samples.sequences.len(),
        positions,
        largest_logit: expected.largest,
        adapter_effect: expected.effect,
        max_logit_difference,
        mean_logit_difference,
        same_top_token: if positions == 0 { 1.0 } else { same as f64 / positions as f64 },
    })
}

/// Largest and mean difference; what is not a number is infinitely far off.
#[expect(clippy::cast_precision_loss, reason = "a count of logits")]
fn differences(one: &[Vec<f32>], other: &[Vec<f32>]) -> (f64, f64) {
    let (mut most, mut sum, mut count) = (0.0_f64, 0.0, 0_u64);
    for (one, other) in one.iter().flatten().zip(other.iter().flatten()) {
        let difference = (f64::from(*one) - f64::from(*other)).abs();
        let difference = if difference.is_nan() { f64::INFINITY } else { difference };
        most = most.max(difference);
        sum += difference;
        count += 1;
    }
    (most, sum / count.max(1) as f64)
}

fn top(logits: &[f32]) -> Option<usize> {
    let best = logits.iter().enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other));
    best.map(|(token, _)| token)
}

/// How far an export may be off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// As far as another order of summation in f32 explains.
    Summation,
    /// As far as weights in 16 bits explain.
    Rounding(WeightType),
    /// No further than the bare base model is.
    NearerThanNone,
}

impl Allowed {
    pub(super) fn of(weights: WeightType) -> Self {
        match weights {
            WeightType::F32 => Self::Summation,
            WeightType::Bf16 | WeightType::F16 => Self::Rounding(weights),
        }
    }
}

impl LogitComparison {
    /// Refuses an export that is further off than allowed.
    pub(super) fn check(&self, allowed: Allowed, format: &'static str) -> Result<(), ExportError> {
        let scale = self.largest_logit.max(1.0);
        let (found, allowed, what) = match allowed {
            Allowed::Summation => (self.max_logit_difference, 1e-4 * scale, "a logit differs by"),
            Allowed::Rounding(WeightType::F16) => {
                (self.max_logit_difference, 0.02 * scale, "a logit differs by")
            }
            Allowed::Rounding(_) => (self.max_logit_difference, 0.1 * scale, "a logit differs by"),
            Allowed::NearerThanNone => {
                (self.mean_logit_difference, self.adapter_effect, "logits differ on average by")
            }
        };
        if found.is_finite() && found <= allowed {
            return Ok(());
        }
        Err(ExportError::Differs {
            format,
            found: format!("{what} {found:.3e}"),
            allowed: format!("{allowed:.3e}"),
        })
    }
}
