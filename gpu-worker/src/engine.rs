//! What every engine can do: train an adapter on a frozen base model, and continue token sequences.

use std::{collections::BTreeMap, ops::Range};

use crate::model::HostTensor;

/// Label of a position that takes no part in the loss.
pub const IGNORED: i64 = -100;

/// A linear layer of a decoder block that can carry a LoRA adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetModule {
    /// `self_attn.q_proj`
    Query,
    /// `self_attn.k_proj`
    Key,
    /// `self_attn.v_proj`
    Value,
    /// `self_attn.o_proj`
    Output,
    /// `mlp.gate_proj`
    Gate,
    /// `mlp.up_proj`
    Up,
    /// `mlp.down_proj`
    Down,
}

/// Shape of a LoRA adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// Inner width of the update.
    pub rank: usize,
    /// Numerator of the scale `alpha / rank`.
    pub alpha: f32,
    /// Layers that carry the update, in every block.
    pub targets: Vec<TargetModule>,
}

/// An adapter's weights under PEFT tensor names
/// (`base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` `[rank, in]`, `….lora_B.weight` `[out, rank]`).
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterWeights {
    /// Shape of the adapter.
    pub config: LoraConfig,
    /// Weights by PEFT name.
    pub tensors: BTreeMap<String, HostTensor>,
}

/// One packed row of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids of all documents, one after another.
    pub tokens: Vec<u32>,
    /// For each position the token that should follow, or [`IGNORED`]; same length as `tokens`.
    pub labels: Vec<i64>,
    /// Where each document lies in `tokens`; attention stays inside and positions restart at 0.
    pub documents: Vec<Range<usize>>,
}

/// Summed loss of one batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchLoss {
    /// Sum of negative log-likelihoods over the target tokens, in nats.
    pub loss_sum: f64,
    /// Number of positions with a label.
    pub target_tokens: usize,
}

/// Everything that a training needs to continue bit for bit.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingState {
    /// Current adapter.
    pub adapter: AdapterWeights,
    /// First moments of AdamW, by the adapter's tensor names.
    pub first_moments: BTreeMap<String, HostTensor>,
    /// Second moments of AdamW.
    pub second_moments: BTreeMap<String, HostTensor>,
    /// Optimiser steps taken.
    pub steps: u64,
}
