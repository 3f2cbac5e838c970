//! One pass of a decoder: new tokens of several sequences under one adapter, and the head for the rows that are asked for.

use std::sync::Arc;

use super::{
    super::{
        block::{Cached, Pass},
        floats,
        layout::Layout,
        weights::DeviceWeights,
    },
    cache::Cache,
    memory::{Head, Memory, Numbers, padded},
};
use crate::{
    cuda::{Address, Device, Element, Gemm, Operand},
    engine::EngineError,
    model::ModelConfig,
    ops::{head_loss::cuda::log_probabilities, rms_norm::cuda::Norm, rope::Ropes},
};

/// Bytes of a number of a pass, and of a logit.
const WORD: usize = 4;

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
    pub(super) ropes: &'a mut Ropes,
    pub(super) memory: &'a mut Option<Memory>,
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
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
        self.memory.as_ref().ok_or(EngineError::NoAdapter)
    }

    /// Moves the tokens through all blocks; returns how many rows are wanted.
    fn run(&mut self, parts: &[Part<'_>], labels: Vec<u32>) -> Result<usize, EngineError> {
        let mut numbers = Numbers { labels, ..Numbers::default() };
        let (mut fresh, mut longest, mut is_stored) = (0, 0, true);
        for Part { tokens, position, cache, wanted } in parts {
            let start = numbers.tokens.len();
            let end = start + tokens.len();
            let positions = *position..position + tokens.len();
            if *position == 0 {
                fresh = end;
            }
            longest = longest.max(positions.end);
            numbers.tokens.extend_from_slice(tokens);
            numbers.starts.resize(end, number(start));
            numbers.wanted.extend((end - wanted..end).map(number));
            numbers.positions.extend(positions.clone().map(number));
            for position in positions {
                match cache.and_then(|cache| cache.row(position)) {
                    Some(row) => numbers.table.extend(row.bytes()),
                    None => is_stored = false,
                }
            }
        }
        let (held, count) = (numbers.tokens.len(), numbers.wanted.len());
        let rows = padded(held);
        if !self.memory.as_ref().is_some_and(|memory| memory.suffices(rows, longest)) {
            let earlier = self.memory.take().map_or([0; 2], |memory| memory.room());
            let room = [rows.max(earlier[0]), longest.max(earlier[1])];
            *self.memory = Some(Memory::new(self.device, self.config, self.layout, self.ropes, room)?);
        }
        let memory = self.memory.as_mut().ok_or(EngineError::NoAdapter)?;
        let table = memory.put(self.device.as_ref(), rows, &numbers)?;
        let cached = Cached {
            table: is_stored.then_some(table),
            fresh,
            continued: held - fresh,
            longest,
            scratch: memory.scratch,
        };
        let pass = Pass {
            device: self.device.as_ref(),
            config: self.config,
            weights: self.weights,
            layout: self.layout,
            activations: &memory.activations,
            rows,
            values: self.values,
            cached: Some(cached),
        };
        pass.blocks_forward()?;
        Ok(count)
    }

    /// The logits of some of the wanted rows.
    fn head(&self, first: usize, count: usize) -> Result<(), EngineError> {
        let Memory { activations, head, .. } = self.memory()?;
        let (hidden, vocab) = (self.config.hidden_size, self.config.vocab_size);
        let stream = activations.residual.last().copied().ok_or(EngineError::NoAdapter)?;
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
