//! Inference over the reference operations: many sequences in one pass, each with its own adapter and key-value cache.

use std::{collections::BTreeMap, sync::Arc};

use rayon::prelude::*;

use super::{
    adapter::{AdapterLayout, Magnitudes},
    block::{self, AdaptedRows, Adapter, AttentionOperands, Pass},
    buffers::{Buffers, Keep},
    head::{self, Targets},
    scale,
    weights::{Weights, heads},
};
use crate::{
    engine::{
        AdapterWeights, Decoder, EngineError, SequenceId,
        sequences::{self, Sequences, check_adapter, check_score, passes},
    },
    model::BaseModel,
    ops::{
        OpError,
        attention::{HeadRows, Heads, PANEL, Span, attention},
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
    sequences: Sequences<Cache>,
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

type Sequence = sequences::Sequence<Cache>;

/// Keys and values per layer.
#[derive(Debug)]
struct Cache {
    keys: Vec<Store>,
    values: Vec<Store>,
}

impl Cache {
    fn new(layers: usize) -> Self {
        let stores = |order| vec![Store { order, room: 0, values: Vec::new() }; layers];
        Self { keys: stores(Order::Panels), values: stores(Order::Rows) }
    }
}

/// Rows of each head behind each other, so that a head's are read without gaps.
#[derive(Debug, Clone)]
struct Store {
    order: Order,
    /// Rows of a head that fit, in whole panels.
    room: usize,
    values: Vec<f32>,
}

/// How the rows of a head lie.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// As [`HeadRows::Apart`], for values.
    Rows,
    /// As [`HeadRows::Panels`], for keys.
    Panels,
}

impl Store {
    /// Puts `new` rows, their heads side by side, behind the first `length` rows; answers all of them.
    fn put(&mut self, heads: Heads, length: usize, new: &[f32]) -> Result<HeadRows<'_>, OpError> {
        let Heads { key_value, dim, .. } = heads;
        let used = length + new.len() / heads.key_value_width();
        if used > self.room {
            self.grow(heads, length, used.max(2 * self.room).next_multiple_of(PANEL));
        }
        let room = self.room;
        for (row, new) in (length..).zip(new.chunks_exact(heads.key_value_width())) {
            for (rows, new) in self.values.chunks_exact_mut(room * dim).zip(new.chunks_exact(dim)) {
                let (first, step) = match self.order {
                    Order::Rows => (row * dim, 1),
                    Order::Panels => (row / PANEL * PANEL * dim + row % PANEL, PANEL),
                };
                let places = rows.get_mut(first..).unwrap_or_default().iter_mut().step_by(step);
                places.zip(new).for_each(|(place, new)| *place = *new);
            }
        }
        Ok(match self.order {
            Order::Rows => {
                HeadRows::Apart { rows: Matrix::new(&self.values, key_value * room, dim)?, room, used }
            }
            Order::Panels => {
                let panels = Matrix::new(&self.values, key_value * room / PANEL * dim, PANEL)?;
                HeadRows::Panels { panels, room, used }
            }
        })
    }

    fn grow(&mut self, Heads { key_value, dim, .. }: Heads, length: usize, room: usize) {
        // Zeroed memory that nobody wrote to takes none.
        let mut values = vec![0.0; key_value * room * dim];
        let of_heads =
            values.chunks_exact_mut(room * dim).zip(self.values.chunks_exact((self.room * dim).max(1)));
        for (into, from) in of_heads {
            for (into, value) in into.iter_mut().zip(from).take(length.next_multiple_of(PANEL) * dim) {
                *into = *value;
            }
        }
        (self.room, self.values) = (room, values);
    }
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
        Ok(Self { base, adapters: BTreeMap::new(), sequences: Sequences::new(), buffers, rounded: true })
    }

    /// Rounds nothing: weights in blocks are multiplied as their values in f32, which is slower.
    #[must_use]
    pub fn exact(self) -> Self {
        Self { rounded: false, ..self }
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
        for pass in passes(inputs.iter().map(|(_, tokens)| tokens.len()), PASS_ROWS) {
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
                let logits = head.logits.read(rows.len() * vocab).par_chunks_exact(vocab);
                let copies: Vec<Vec<f32>> = logits.map(<[f32]>::to_vec).collect();
                for (index, logits) in finished.iter().zip(copies) {
                    if let Some(answer) = answers.get_mut(*index) {
                        *answer = logits;
                    }
                }
            }
        }
        Ok(answers)
    }
}

impl Decoder for ReferenceDecoder {
    fn add_adapter(&mut self, name: &str, adapter: &AdapterWeights) -> Result<(), EngineError> {
        self.sequences.check_unused(name)?;
        let layout = AdapterLayout::new(&adapter.config, &self.base.config)?;
        let values = layout.import(&adapter.tensors, name)?;
        let weights = Weights::resolve(&self.base)?;
        let magnitudes = layout.scaling(&weights, &values)?.map(|scaling| scaling.magnitudes);
        self.adapters.insert(name.to_owned(), LoadedAdapter { layout, values, magnitudes });
        Ok(())
    }

    fn remove_adapter(&mut self, name: &str) -> Result<(), EngineError> {
        self.sequences.check_unused(name)?;
        let removed = self.adapters.remove(name);
        removed.map(drop).ok_or_else(|| EngineError::UnknownAdapter { name: name.to_owned() })
    }

    fn open(&mut self, adapter: Option<&str>) -> Result<SequenceId, EngineError> {
        check_adapter(&self.adapters, adapter)?;
        Ok(self.sequences.open(adapter, Cache::new(self.base.config.layers)))
    }

    fn extend(&mut self, inputs: &[(SequenceId, &[u32])]) -> Result<Vec<Vec<f32>>, EngineError> {
        self.sequences.check_inputs(inputs, &self.base.config)?;
        let taken = inputs.iter().map(|(id, _)| self.sequences.take(*id));
        let mut sequences: Vec<Sequence> = taken.collect::<Result<_, _>>()?;
        // Inside the pool from the start, the many small operations of a pass begin without waking it each time.
        let (answers, ()) = rayon::join(|| self.extend_checked(inputs, &mut sequences), || ());
        for ((id, _), sequence) in inputs.iter().zip(sequences) {
            self.sequences.put(*id, sequence);
        }
        answers
    }

    fn score(&mut self, adapter: Option<&str>, tokens: &[u32], from: usize) -> Result<Vec<f32>, EngineError> {
        check_score(tokens, from, &self.base.config)?;
        check_adapter(&self.adapters, adapter)?;
        let cache = Cache::new(self.base.config.layers);
        let mut sequence = Sequence { adapter: adapter.map(str::to_owned), length: 0, cache };
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
        Ok(self.sequences.get(id)?.length)
    }

    fn close(&mut self, id: SequenceId) -> Result<(), EngineError> {
        self.sequences.close(id)
    }
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

/// Who adapts which rows. Sequences stay apart even under one adapter: a product of more rows is rounded otherwise, and then
/// an answer would depend on what else is answered.
fn adapted_rows<'a>(
    adapters: &'a BTreeMap<String, LoadedAdapter>,
    extensions: &[Extension<'_>],
) -> Vec<AdaptedRows<'a>> {
    let rows = extensions.iter().map(|Extension { sequence, tokens }| {
        let loaded = sequence.adapter.as_deref().and_then(|name| adapters.get(name));
        let adapter = loaded.map(|LoadedAdapter { layout, values, magnitudes }| Adapter {
            layout,
            values,
            magnitudes: magnitudes.as_ref(),
        });
        AdaptedRows { rows: tokens.len(), adapter }
    });
    rows.collect()
}

/// Appends the new keys and values of each sequence to its cache and attends over all of it, several sequences at a time.
fn attend_with_cache(
    base: &BaseModel,
    layer: usize,
    extensions: &mut [Extension<'_>],
    operands: AttentionOperands<'_>,
) -> Result<(), OpError> {
    let heads = heads(&base.config, layer);
    let AttentionOperands { mut query, mut key, mut value, mut out, mut log_sums } = operands;
    let mut attending = Vec::with_capacity(extensions.len());
    for Extension { sequence, tokens } in extensions {
        let rows = tokens.len();
        let Cache { keys, values } = &mut sequence.cache;
        let limit = keys.len();
        let (Some(keys), Some(values)) = (keys.get_mut(layer), values.get_mut(layer)) else {
            return Err(OpError::Index { operation: "cache", operand: "layer", got: layer, limit });
        };
        attending.push(Attending {
            keys,
            values,
            length: sequence.length,
            rows,
            query: query.split_off(..rows * heads.query_width()).unwrap_or_default(),
            new_keys: key.split_off(..rows * heads.key_value_width()).unwrap_or_default(),
            new_values: value.split_off(..rows * heads.key_value_width()).unwrap_or_default(),
            out: out.split_off_mut(..rows * heads.query_width()).unwrap_or_default(),
            log_sums: log_sums.split_off_mut(..rows * heads.query).unwrap_or_default(),
        });
    }
    if !query.is_empty() {
        let got = query.len();
        return Err(OpError::Length { operation: "cache", operand: "queries left", got, expected: 0 });
    }
    attending.into_par_iter().with_max_len(1).try_for_each(|attending| attending.run(heads))
}

/// New rows of one sequence in a layer. Slices that are too short are empty, which attention refuses.
struct Attending<'a> {
    keys: &'a mut Store,
    values: &'a mut Store,
    /// Rows that both hold.
    length: usize,
    rows: usize,
    query: &'a [f32],
    new_keys: &'a [f32],
    new_values: &'a [f32],
    out: &'a mut [f32],
    log_sums: &'a mut [f32],
}

impl Attending<'_> {
    fn run(self, heads: Heads) -> Result<(), OpError> {
        let span = Span {
            rows: self.rows,
            keys: self.keys.put(heads, self.length, self.new_keys)?,
            values: self.values.put(heads, self.length, self.new_values)?,
        };
        attention(heads, self.query, &[span], self.out, self.log_sums)
    }
}

#[cfg(test)]
mod tests;
