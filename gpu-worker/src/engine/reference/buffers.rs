//! Activation memory that grows to the largest batch and is then reused by every step.

use crate::ops::rope::Ropes;

/// A run of f32 that keeps its memory between uses.
#[derive(Debug, Default)]
pub(super) struct Buffer(Vec<f32>);

impl Buffer {
    /// `length` values to be overwritten; what they hold is unspecified.
    pub(super) fn write(&mut self, length: usize) -> &mut [f32] {
        if self.0.len() < length {
            self.0.resize(length, 0.0);
        }
        self.0.get_mut(..length).unwrap_or_default()
    }

    /// The first `length` values, as last written.
    pub(super) fn read(&self, length: usize) -> &[f32] {
        self.0.get(..length).unwrap_or_default()
    }
}

/// What a forward pass leaves for a backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Nothing: there is none.
    Nothing,
    /// The input of each block, from which the backward pass computes the rest again.
    Inputs,
    /// Everything that the backward pass reads.
    Activations,
}

/// What a block keeps for its backward pass, each `[rows, …]`.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Residual stream before attention.
    pub(super) input: Buffer,
    /// Queries and keys before their heads were normalised.
    pub(super) raw_query: Buffer,
    pub(super) raw_key: Buffer,
    /// Rotated queries.
    pub(super) query: Buffer,
    /// Rotated keys.
    pub(super) key: Buffer,
    /// Values.
    pub(super) value: Buffer,
    /// Output of attention, before its projection.
    pub(super) attention: Buffer,
    /// `[query heads, rows]`
    pub(super) log_sums: Buffer,
    /// What attention and the gated layers gave, before it was normalised.
    pub(super) outputs: [Buffer; 2],
    /// Residual stream between attention and the gated layers.
    pub(super) middle: Buffer,
    /// Gate, before its activation.
    pub(super) gate: Buffer,
    /// Up projection.
    pub(super) up: Buffer,
    /// Of the four groups of layers.
    pub(super) groups: [GroupKept; 4],
}

/// What a group of layers keeps for its backward pass.
#[derive(Debug, Default)]
pub(super) struct GroupKept {
    /// `x·Aᵀ`
    pub(super) low_rank: Buffer,
    /// Outputs before their magnitudes.
    pub(super) plain: Buffer,
}

/// Memory of a group of layers, mostly of its backward pass.
#[derive(Debug, Default)]
pub(super) struct LinearScratch {
    /// Gradient of `x·Aᵀ`.
    pub(super) d_low_rank: Buffer,
    /// Gradient of outputs before their magnitudes.
    pub(super) d_plain: Buffer,
    /// Weights that are not held in f32.
    pub(super) weights: Buffer,
    /// Input of the updates under dropout, and its gradient.
    pub(super) dropped: Buffer,
    pub(super) d_dropped: Buffer,
}

/// Memory that every block uses anew.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// `[rows, hidden]`
    pub(super) normed: Buffer,
    /// `[rows, hidden]`
    pub(super) d_normed: Buffer,
    /// `[rows, query width]`
    pub(super) d_attention: Buffer,
    /// `[rows, query width]`
    pub(super) d_query: Buffer,
    /// `[rows, key-value width]`
    pub(super) d_key: Buffer,
    /// `[rows, key-value width]`
    pub(super) d_value: Buffer,
    /// `[rows, intermediate]`
    pub(super) activated: Buffer,
    /// `[rows, intermediate]`
    pub(super) d_activated: Buffer,
    /// Of a group of layers.
    pub(super) linear: LinearScratch,
    /// Per-head shares of attention gradients.
    pub(super) partial: Buffer,
}

/// Memory of whole passes.
#[derive(Debug)]
pub(super) struct Buffers {
    /// Angles of the rotary embedding.
    pub(super) rope: Ropes,
    /// Residual stream `[rows, hidden]`.
    pub(super) hidden: Buffer,
    /// Gradient of the residual stream.
    pub(super) d_hidden: Buffer,
    /// Per block; where nothing is kept, all use the first.
    pub(super) kept: Vec<Kept>,
    /// Residual stream before each block, where blocks are computed again in the backward pass.
    pub(super) inputs: Vec<Buffer>,
    /// Shared by the blocks.
    pub(super) scratch: Scratch,
    /// Memory of the output head.
    pub(super) head: HeadBuffers,
}

/// Memory of the output head.
#[derive(Debug, Default)]
pub(super) struct HeadBuffers {
    /// Normalised rows that have a label `[labelled, hidden]`.
    pub(super) picked: Buffer,
    /// Their gradients.
    pub(super) d_picked: Buffer,
    /// Logits of some rows `[chunk, vocab]`.
    pub(super) logits: Buffer,
    /// Loss of each of these rows.
    pub(super) losses: Vec<f64>,
    /// Some rows of a head that is not held in f32.
    pub(super) weights: Buffer,
}

impl Buffers {
    /// Empty buffers.
    pub(super) fn new(rope: Ropes) -> Self {
        Self {
            rope,
            hidden: Buffer::default(),
            d_hidden: Buffer::default(),
            kept: Vec::new(),
            inputs: Vec::new(),
            scratch: Scratch::default(),
            head: HeadBuffers::default(),
        }
    }

    /// Makes sure that the blocks have memory for what is kept of them.
    pub(super) fn reserve_blocks(&mut self, blocks: usize, keep: Keep) {
        let (kept, inputs) = match keep {
            Keep::Nothing => (1, 0),
            Keep::Inputs => (1, blocks),
            Keep::Activations => (blocks, 0),
        };
        if self.kept.len() < kept {
            self.kept.resize_with(kept, Kept::default);
        }
        if self.inputs.len() < inputs {
            self.inputs.resize_with(inputs, Buffer::default);
        }
    }
}
