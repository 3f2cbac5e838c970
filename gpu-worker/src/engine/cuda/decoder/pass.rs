//! One pass of a decoder: new tokens of several sequences under one adapter, and the head for the rows that are asked for.

use std::sync::Arc;

use super::{
    super::{
        block::{Cached, Pass},
        bytes::{WORD, floats, number},
        layout::Layout,
        magnitudes::Magnitudes,
        weights::DeviceWeights,
    },
    cache::Cache,
    memory::{Head, Key, Memory, Numbers, padded},
};
use crate::{
    cuda::{Address, Device, Element, Gemm, Operand},
    engine::EngineError,
    model::ModelConfig,
    ops::{head_loss::cuda::log_probabilities, rms_norm::cuda::Norm, rope::Ropes},
};

/// Rows of passes that are recorded, at most.
const RECORDED_ROWS: usize = 256;
/// What steps take for the length of the longest sequence at least; beyond it they know no more than the next power of two.
const SHORTEST: usize = 256;
/// Every pass reserves its memory first.
const NO_MEMORY: EngineError = EngineError::Defect { missing: "the memory of a pass" };

/// New tokens of one sequence.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) tokens: &'a [u32],
    /// Position of the first.
    pub(super) position: usize,
    /// Where their keys and values go; only a sequence without later tokens needs none.
    pub(super) cache: Option<&'a Cache>,
    /// Of how many of them, the last ones, the logits are wanted.
    pub(super) wanted: usize,
}

/// What passes work with.
pub(super) struct Running<'a> {
    pub(super) device: &'a Arc<dyn Device>,
    pub(super) config: &'a ModelConfig,
    pub(super) weights: &'a DeviceWeights,
    pub(super) layout: &'a Layout,
    /// The adapter's values, where there is one.
    pub(super) values: Option<Address>,
    /// What outputs are multiplied by, where its method has magnitudes.
    pub(super) magnitudes: Option<&'a Magnitudes>,
    pub(super) ropes: &'a mut Ropes,
    pub(super) memory: &'a mut Option<Memory>,
}

/// The rows of a pass.
struct Gathered {
    numbers: Numbers,
    /// Rows of sequences that begin.
    fresh: usize,
    /// Tokens of the longest sequence.
    longest: usize,
    /// Whether keys and values go into caches.
    is_stored: bool,
}

impl Gathered {
    fn new(parts: &[Part<'_>], labels: Vec<u32>) -> Self {
        let numbers = Numbers { labels, ..Numbers::default() };
        let mut gathered = Self { numbers, fresh: 0, longest: 0, is_stored: true };
        let numbers = &mut gathered.numbers;
        for Part { tokens, position, cache, wanted } in parts {
            let start = numbers.tokens.len();
            let end = start + tokens.len();
            let positions = *position..position + tokens.len();
            if *position == 0 {
                gathered.fresh = end;
            }
            gathered.longest = gathered.longest.max(positions.end);
            numbers.tokens.extend_from_slice(tokens);
            numbers.starts.resize(end, number(start));
            numbers.wanted.extend((end - wanted..end).map(number));
            numbers.positions.extend(positions.clone().map(number));
            for position in positions {
                match cache.and_then(|cache| cache.row(position)) {
                    Some(row) => numbers.table.extend(row.bytes()),
                    None => gathered.is_stored = false,
                }
            }
        }
        gathered
    }
}

impl Running<'_> {
    /// The logits of all wanted rows; `parts` that begin a sequence come first.
    pub(super) fn logits(&mut self, parts: &[Part<'_>]) -> Result<Vec<Vec<f32>>, EngineError> {
        let count = self.run(parts, Vec::new())?;
        let Head { logits, rows, .. } = self.memory()?.head;
        let mut answers = Vec::with_capacity(count);
        let mut bytes = Vec::new();
        for first in (0..count).step_by(rows) {
            let chunk = rows.min(count - first);
            self.head(first, chunk)?;
            bytes.resize(chunk * logits.stride * WORD, 0);
            self.device.read(logits.address, &mut bytes)?;
            let rows = bytes.chunks_exact(logits.stride * WORD);
            answers.extend(rows.map(|row| floats(row).take(self.config.vocab_size).collect::<Vec<f32>>()));
        }
        Ok(answers)
    }

    /// The log-probabilities of the tokens `labels` that follow the wanted rows.
    pub(super) fn scores(&mut self, parts: &[Part<'_>], labels: &[u32]) -> Result<Vec<f32>, EngineError> {
        let count = self.run(parts, labels.to_vec())?;
        let Memory { activations, head: Head { logits, rows, scores, .. }, .. } = self.memory()?;
        for first in (0..count).step_by(*rows) {
            let chunk = (*rows).min(count - first);
            self.head(first, chunk)?;
            let labels = activations.inputs.labels.at(first * WORD);
            let (from, shape) = ((logits.address, logits.stride), [chunk, self.config.vocab_size]);
            log_probabilities(self.device.as_ref(), from, labels, scores.at(first * WORD), shape)?;
        }
        let mut bytes = vec![0; count * WORD];
        self.device.read(*scores, &mut bytes)?;
        Ok(floats(&bytes).collect())
    }

    fn memory(&self) -> Result<&Memory, EngineError> {
        self.memory.as_ref().ok_or(NO_MEMORY)
    }

    /// Moves the tokens through all blocks; returns how many rows are wanted.
    fn run(&mut self, parts: &[Part<'_>], labels: Vec<u32>) -> Result<usize, EngineError> {
        let Gathered { mut numbers, fresh, mut longest, is_stored } = Gathered::new(parts, labels);
        let (held, count) = (numbers.tokens.len(), numbers.wanted.len());
        let rows = padded(held);
        self.reserve([rows, longest])?;
        let memory = self.memory.as_mut().ok_or(NO_MEMORY)?;
        // Steps of generation, whose work depends on no more than the key of their recording: rows that only fill up attend too.
        let is_step = fresh == 0 && is_stored && rows <= RECORDED_ROWS;
        if is_step {
            longest = longest.max(rows - held).next_power_of_two().max(SHORTEST);
            for position in 0..rows - held {
                numbers.positions.push(number(position));
                numbers.table.extend(memory.idle_row(position).bytes());
            }
        }
        let table = memory.put(self.device.as_ref(), rows, &numbers)?;
        let cached = Cached {
            table: is_stored.then_some(table),
            fresh,
            continued: if is_step { rows } else { held - fresh },
            longest,
            scratch: memory.scratch,
        };
        let Memory { activations, graphs, .. } = memory;
        let pass = Pass {
            device: self.device.as_ref(),
            config: self.config,
            weights: self.weights,
            layout: self.layout,
            activations,
            rows,
            values: self.values,
            magnitudes: self.magnitudes,
            dropout: None,
            cached: Some(cached),
        };
        if is_step {
            let gains = self.magnitudes.map(Magnitudes::gains);
            let key = Key { rows, longest, values: self.values, gains };
            graphs.run(key, &mut || pass.blocks_forward())?;
        } else {
            pass.blocks_forward()?;
        }
        Ok(count)
    }

    /// Makes room for passes of so many rows and positions.
    fn reserve(&mut self, room: [usize; 2]) -> Result<(), EngineError> {
        if self.memory.as_ref().is_some_and(|memory| memory.suffices(room)) {
            return Ok(());
        }
        let earlier = self.memory.take().map_or([0; 2], |memory| memory.room());
        let room = [room[0].max(earlier[0]), room[1].max(earlier[1])];
        *self.memory = Some(Memory::new(self.device, self.config, self.layout, self.ropes, room)?);
        Ok(())
    }

    /// The logits of some of the wanted rows.
    fn head(&self, first: usize, count: usize) -> Result<(), EngineError> {
        let Memory { activations, head, .. } = self.memory()?;
        let (hidden, vocab) = (self.config.hidden_size, self.config.vocab_size);
        let stream = activations.residual_before(self.config.layers)?;
        let norm = Norm { weight: self.weights.norm, width: hidden, eps: self.config.rms_norm_eps };
        let index = Some(activations.inputs.labelled.at(first * WORD));
        norm.forward(self.device.as_ref(), head.input, stream, index, count)?;
        Ok(self.device.multiply(&Gemm {
            m: padded(count).min(head.rows),
            n: vocab,
            k: hidden,
            alpha: 1.0,
            a: head.input.operand(),
            b: self.weights.head.transposed(),
            c: None,
            d: Operand { transposed: false, ..head.logits },
            result: Element::F32,
            bias: None,
        })?)
    }
}
