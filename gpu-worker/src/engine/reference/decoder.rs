//! Inference over the reference operations: many sequences in one pass, each with its own adapter and key-value cache.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use super::{
    adapter::{AdapterLayout, Magnitudes},
    block::{self, AdaptedRows, Adapter, AttentionOperands, Pass},
    buffers::{Buffers, Keep},
    head::{self, Targets},
    scale,
    weights::{Weights, heads},
};
use crate::{
    engine::{AdapterWeights, Decoder, EngineError, SequenceId},
    model::BaseModel,
    ops::{
        OpError,
        attention::{Span, attention},
        matmul::Matrix,
        rope::Ropes,
    },
};

/// Rows of one pass at most, which bounds activation memory; longer inputs take several passes.
const PASS_ROWS: usize = 512;

/// Generates and scores on the CPU.
#[derive(Debug)]
pub struct ReferenceDecoder {
    base: Arc<BaseModel>,
    adapters: BTreeMap<String, LoadedAdapter>,
    sequences: BTreeMap<u64, Sequence>,
    next_id: u64,
    buffers: Buffers,
    /// Whether inputs of weights in blocks may be rounded to eight bits.
    rounded: bool,
}

#[derive(Debug)]
struct LoadedAdapter {
    layout: AdapterLayout,
    values: Vec<f32>,
    magnitudes: Option<Magnitudes>,
}

/// Tokens seen so far, as keys and values per layer `[length, key-value width]`.
#[derive(Debug, Default)]
struct Sequence {
    adapter: Option<String>,
    length: usize,
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

/// New tokens of one sequence in a pass.
struct Extension<'a> {
    sequence: &'a mut Sequence,
    tokens: &'a [u32],
}

impl ReferenceDecoder {
    /// A decoder without adapters or sequences.
    ///
    /// # Errors
    /// As [`super::ReferenceEngine::new`].
    pub fn new(base: Arc<BaseModel>) -> Result<Self, EngineError> {
        Weights::resolve(&base)?;
        let buffers = Buffers::new(Ropes::new(&base.config));
        let (adapters, sequences) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { base, adapters, sequences, next_id: 0, buffers, rounded: true })
    }

    /// Rounds nothing: weights in blocks are multiplied as their values in f32, which is slower.
    #[must_use]
    pub fn exact(self) -> Self {
        Self { rounded: false, ..self }
    }

    fn empty_sequence(&self, adapter: Option<&str>) -> Result<Sequence, EngineError> {
        if let Some(name) = adapter.filter(|name| !self.adapters.contains_key(*name)) {
            return Err(EngineError::UnknownAdapter { name: name.to_owned() });
        }
        let layers = self.base.config.layers;
        let caches = || vec![Vec::new(); layers];
        Ok(Sequence { adapter: adapter.map(str::to_owned), length: 0, keys: caches(), values: caches() })
    }

    fn check_tokens(&self, tokens: &[u32], earlier: usize) -> Result<(), EngineError> {
        let config = &self.base.config;
        let length = earlier + tokens.len();
        if length > config.max_positions {
            return Err(EngineError::SequenceTooLong { length, max_positions: config.max_positions });
        }
        match tokens.iter().enumerate().find(|(_, token)| **token as usize >= config.vocab_size) {
            Some((index, token)) => Err(EngineError::TokenRange {
                token: i64::from(*token),
                position: earlier + index,
                vocab_size: config.vocab_size,
            }),
            None => Ok(()),
        }
    }

    fn sequences_of(&self, adapter: &str) -> usize {
        self.sequences.values().filter(|sequence| sequence.adapter.as_deref() == Some(adapter)).count()
    }

    fn check_unused(&self, name: &str) -> Result<(), EngineError> {
        match self.sequences_of(name) {
            0 => Ok(()),
            sequences => Err(EngineError::AdapterInUse { name: name.to_owned(), sequences }),
        }
    }

    fn check_inputs(&self, inputs: &[(SequenceId, &[u32])]) -> Result<(), EngineError> {
        let mut seen = BTreeSet::new();
        for (SequenceId(id), tokens) in inputs {
            let sequence = self.sequences.get(id).ok_or(EngineError::UnknownSequence { id: *id })?;
            if !seen.insert(*id) {
                return Err(EngineError::RepeatedSequence { id: *id });
            }
            if tokens.is_empty() {
                return Err(EngineError::NothingToExtend { id: *id });
            }
            self.check_tokens(tokens, sequence.length)?;
        }
        Ok(())
    }

    /// Appends to open sequences, pass by pass, and gathers the logits after each one's last token.
    fn extend_checked(
        &mut self,
        inputs: &[(SequenceId, &[u32])],
        sequences: &mut [Sequence],
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let base = Arc::clone(&self.base);
        let weights = Weights::resolve(&base)?;
        let vocab = base.config.vocab_size;
        let mut answers = vec![Vec::new(); inputs.len()];
        for pass in passes(inputs.iter().map(|(_, tokens)| tokens.len())) {
            let (mut extensions, mut last_rows, mut finished) = (Vec::new(), Vec::new(), Vec::new());
            let mut rows = 0;
            let mut parts = pass.into_iter().peekable();
            for (index, (sequence, (_, tokens))) in sequences.iter_mut().zip(inputs).enumerate() {
                let Some((_, part)) = parts.next_if(|(of, _)| *of == index) else { continue };
                rows += part.len();
                if part.end == tokens.len() {
                    last_rows.push(rows - 1);
                    finished.push(index);
                }
                let tokens = tokens.get(part).unwrap_or_default();
                extensions.push(Extension { sequence, tokens });
            }
            run_pass(&base, &weights, &self.adapters, (&mut extensions, self.rounded), &mut self.buffers)?;
            let Buffers { hidden, head, .. } = &mut self.buffers;
            let hidden = hidden.read(rows * base.config.hidden_size);
            for (rows, finished) in last_rows.chunks(PASS_ROWS).zip(finished.chunks(PASS_ROWS)) {
                head::logits(&base.config, &weights, hidden, rows, head, self.rounded)?;
                let logits = head.logits.read(rows.len() * vocab).chunks_exact(vocab);
                for (index, logits) in finished.iter().zip(logits) {
                    if let Some(answer) = answers.get_mut(*index) {
                        *answer = logits.to_vec();
                    }
                }
            }
        }
        Ok(answers)
    }
}

impl Decoder for ReferenceDecoder {
    fn add_adapter(&mut self, name: &str, adapter: &AdapterWeights) -> Result<(), EngineError> {
        self.check_unused(name)?;
        let layout = AdapterLayout::new(&adapter.config, &self.base.config)?;
        let values = layout.import(&adapter.tensors, name)?;
        let weights = Weights::resolve(&self.base)?;
        let magnitudes = layout.scaling(&weights, &values)?.map(|scaling| scaling.magnitudes);
        self.adapters.insert(name.to_owned(), LoadedAdapter { layout, values, magnitudes });
        Ok(())
    }

    fn remove_adapter(&mut self, name: &str) -> Result<(), EngineError> {
        self.check_unused(name)?;
        let removed = self.adapters.remove(name);
        removed.map(drop).ok_or_else(|| EngineError::UnknownAdapter { name: name.to_owned() })
    }

    fn open(&mut self, adapter: Option<&str>) -> Result<SequenceId, EngineError> {
        let sequence = self.empty_sequence(adapter)?;
        let id = self.next_id;
        self.next_id += 1;
        self.sequences.insert(id, sequence);
        Ok(SequenceId(id))
    }

    fn extend(&mut self, inputs: &[(SequenceId, &[u32])]) -> Result<Vec<Vec<f32>>, EngineError> {
        self.check_inputs(inputs)?;
        let taken = inputs.iter().map(|(SequenceId(id), _)| self.sequences.remove(id).unwrap_or_default());
        let mut sequences: Vec<Sequence> = taken.collect();
        // Inside the pool from the start, the many small operations of a pass begin without waking it each time.
        let (answers, ()) = rayon::join(|| self.extend_checked(inputs, &mut sequences), || ());
        for ((SequenceId(id), _), sequence) in inputs.iter().zip(sequences) {
            self.sequences.insert(*id, sequence);
        }
        answers
    }

    fn score(&mut self, adapter: Option<&str>, tokens: &[u32], from: usize) -> Result<Vec<f32>, EngineError> {
        if from == 0 || from > tokens.len() {
            return Err(EngineError::ScoreStart { from, length: tokens.len() });
        }
        self.check_tokens(tokens, 0)?;
        let mut sequence = self.empty_sequence(adapter)?;
        let base = Arc::clone(&self.base);
        let weights = Weights::resolve(&base)?;
        let mut scores = Vec::with_capacity(tokens.len() - from);
        let context = tokens.get(..tokens.len() - 1).unwrap_or_default();
        for (pass, part) in context.chunks(PASS_ROWS).enumerate() {
            let start = pass * PASS_ROWS;
            let mut extensions = [Extension { sequence: &mut sequence, tokens: part }];
            run_pass(&base, &weights, &self.adapters, (&mut extensions, false), &mut self.buffers)?;
            let rows: Vec<usize> = (0..part.len()).filter(|row| start + row + 1 >= from).collect();
            let labels =
                tokens.get(start + part.len() - rows.len() + 1..start + part.len() + 1).unwrap_or_default();
            let Buffers { hidden, head, .. } = &mut self.buffers;
            let hidden = hidden.read(part.len() * base.config.hidden_size);
            let losses = head::losses(&base.config, &weights, hidden, Targets { rows: &rows, labels }, head)?;
            #[expect(clippy::cast_possible_truncation, reason = "a log-probability needs no more than f32")]
            scores.extend(losses.into_iter().map(|loss| -loss as f32));
        }
        Ok(scores)
    }

    fn length(&self, id: SequenceId) -> Result<usize, EngineError> {
        self.sequences
            .get(&id.0)
            .map(|sequence| sequence.length)
            .ok_or(EngineError::UnknownSequence { id: id.0 })
    }

    fn close(&mut self, id: SequenceId) -> Result<(), EngineError> {
        self.sequences.remove(&id.0).map(drop).ok_or(EngineError::UnknownSequence { id: id.0 })
    }
}

/// Spreads inputs of the given lengths over passes of at most [`PASS_ROWS`] rows: for each pass, which input and which tokens.
fn passes(lengths: impl Iterator<Item = usize>) -> Vec<Vec<(usize, Range<usize>)>> {
    let (mut passes, mut current, mut room) = (Vec::new(), Vec::new(), PASS_ROWS);
    for (index, length) in lengths.enumerate() {
        let mut start = 0;
        while start < length {
            let end = length.min(start + room);
            current.push((index, start..end));
            room -= end - start;
            start = end;
            if room == 0 {
                passes.push(std::mem::take(&mut current));
                room = PASS_ROWS;
            }
        }
    }
    if !current.is_empty() {
        passes.push(current);
    }
    passes
}

/// Moves new tokens through all blocks and appends their keys and values; leaves the residual stream in `buffers.hidden`.
/// With `rounded`, inputs of weights in blocks are rounded to eight bits.
fn run_pass(
    base: &BaseModel,
    weights: &Weights<'_>,
    adapters: &BTreeMap<String, LoadedAdapter>,
    (extensions, rounded): (&mut [Extension<'_>], bool),
    buffers: &mut Buffers,
) -> Result<(), EngineError> {
    let config = &base.config;
    let (mut tokens, mut positions) = (Vec::new(), Vec::new());
    for Extension { sequence, tokens: new } in &*extensions {
        tokens.extend_from_slice(new);
        positions.extend(sequence.length..sequence.length + new.len());
    }
    let adapted = adapted_rows(adapters, extensions);
    buffers.rope.reserve(positions.iter().max().map_or(0, |last| last + 1));
    buffers.reserve_blocks(config.layers, Keep::Nothing);
    let Buffers { rope, hidden, kept, scratch, .. } = buffers;
    let hidden = hidden.write(tokens.len() * config.hidden_size);
    weights.embedding.embed(config.hidden_size, &tokens, hidden)?;
    scale(hidden, config.variant.embedding_scale);
    let pass = Pass { config, rope, positions: &positions, adapted: &adapted, dropout: None, rounded };
    let Some(kept) = kept.first_mut() else { return Ok(()) };
    for (layer, block) in weights.blocks.iter().enumerate() {
        block::forward((layer, block), &pass, hidden, kept, scratch, |operands| {
            attend_with_cache(base, layer, extensions, operands)
        })?;
    }
    for Extension { sequence, tokens } in extensions {
        sequence.length += tokens.len();
    }
    Ok(())
}

/// Who adapts which rows; neighbours under the same adapter are joined, so that it takes one product for all of them.
fn adapted_rows<'a>(
    adapters: &'a BTreeMap<String, LoadedAdapter>,
    extensions: &[Extension<'_>],
) -> Vec<AdaptedRows<'a>> {
    let mut names: Vec<(Option<&str>, usize)> = Vec::new();
    for Extension { sequence, tokens } in extensions {
        let name = sequence.adapter.as_deref();
        match names.last_mut() {
            Some((last, rows)) if *last == name => *rows += tokens.len(),
            _ => names.push((name, tokens.len())),
        }
    }
    let rows = names.into_iter().map(|(name, rows)| {
        let loaded = name.and_then(|name| adapters.get(name));
        let adapter = loaded.map(|LoadedAdapter { layout, values, magnitudes }| Adapter {
            layout,
            values,
            magnitudes: magnitudes.as_ref(),
        });
        AdaptedRows { rows, adapter }
    });
    rows.collect()
}

/// Appends the new keys and values of each sequence to its cache and attends over all of it.
fn attend_with_cache(
    base: &BaseModel,
    layer: usize,
    extensions: &mut [Extension<'_>],
    operands: AttentionOperands<'_>,
) -> Result<(), OpError> {
    let heads = heads(&base.config, layer);
    let width = heads.key_value_width();
    let AttentionOperands { query, mut key, mut value, out, log_sums } = operands;
    let mut spans = Vec::with_capacity(extensions.len());
    for Extension { sequence, tokens } in extensions {
        let (new_keys, later_keys) = key.split_at(tokens.len() * width);
        let (new_values, later_values) = value.split_at(tokens.len() * width);
        (key, value) = (later_keys, later_values);
        let total = sequence.length + tokens.len();
        let (Some(keys), Some(values)) = (sequence.keys.get_mut(layer), sequence.values.get_mut(layer))
        else {
            continue;
        };
        for (cache, new) in [(&mut *keys, new_keys), (&mut *values, new_values)] {
            cache.truncate(sequence.length * width);
            cache.extend_from_slice(new);
        }
        spans.push(Span {
            rows: tokens.len(),
            keys: Matrix::new(keys, total, width)?,
            values: Matrix::new(values, total, width)?,
        });
    }
    attention(heads, query, &spans, out, log_sums)
}

#[cfg(test)]
mod tests;
