//! How much memory a training takes, counted before the first step.

use super::{
    adapter::AdapterLayout,
    buffers::Keep,
    head,
    weights::{GROUPS, features, heads},
};
use crate::{
    engine::{EngineError, LoraConfig},
    model::{BaseModel, ModelConfig},
    ops::attention::partial_length,
};

/// Values that an adapter's parameter takes: itself, gradient, two moments; the copies, the file and the best adapter of a checkpoint.
const VALUES_PER_PARAMETER: usize = 12;
/// Bytes of an f32.
const F32: usize = size_of::<f32>();

/// Memory of a training, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct TrainingMemory {
    /// The base model as it is held.
    pub base_bytes: usize,
    /// The adapter with gradients and moments, and a checkpoint being written.
    pub adapter_bytes: usize,
    /// What the blocks keep for the backward pass.
    pub activation_bytes: usize,
    /// What all blocks share: a block's gradients, logits, weights read from few bits.
    pub scratch_bytes: usize,
}

impl TrainingMemory {
    /// Counts the memory for rows of at most `rows` tokens; `recompute` as of an engine that computes blocks twice.
    ///
    /// # Errors
    /// As [`crate::engine::Engine::init_adapter`].
    pub fn new(
        base: &BaseModel,
        lora: &LoraConfig,
        rows: usize,
        recompute: bool,
    ) -> Result<Self, EngineError> {
        let config = &base.config;
        let layout = AdapterLayout::new(lora, config)?;
        let keep = if recompute { Keep::Inputs } else { Keep::Activations };
        let kept = rows * kept_per_token(config, &layout, lora);
        let activations = match keep {
            Keep::Activations => config.layers * kept,
            Keep::Inputs | Keep::Nothing => kept + config.layers * rows * config.hidden_size,
        };
        let weights = if base.quantised.is_empty() { 0 } else { widest_group(config) };
        let is_held_in_blocks = base.quantised.contains_key("lm_head.weight")
            || base.quantised.contains_key("model.embed_tokens.weight");
        let tile =
            if is_held_in_blocks { head::TILE_ROWS.min(config.vocab_size) * config.hidden_size } else { 0 };
        let scratch = rows * scratch_per_token(config, &layout, lora)
            + partial_length(heads(config, 0), rows)
            + weights
            + tile
            + head::chunk_rows(config.vocab_size).min(rows) * config.vocab_size;
        Ok(Self {
            base_bytes: base.bytes(),
            adapter_bytes: F32 * VALUES_PER_PARAMETER * layout.length(),
            activation_bytes: F32 * activations,
            scratch_bytes: F32 * scratch,
        })
    }

    /// All of it.
    pub fn total_bytes(&self) -> usize {
        self.base_bytes + self.added_bytes()
    }

    /// What comes on top of a base model that is loaded already.
    pub fn added_bytes(&self) -> usize {
        self.adapter_bytes + self.activation_bytes + self.scratch_bytes
    }
}

/// Values that a block keeps of a token.
fn kept_per_token(config: &ModelConfig, layout: &AdapterLayout, lora: &LoraConfig) -> usize {
    let heads = heads(config, 0);
    let (query, key) = (heads.query_width(), heads.key_value_width());
    let raw = if config.variant.query_key_norm { query + key } else { 0 };
    let outputs = if config.variant.output_norms { 2 * config.hidden_size } else { 0 };
    let low_rank: usize = (0..GROUPS.len()).map(|group| layout.low_rank_width(group)).sum();
    let plain: usize =
        if lora.dora { GROUPS.map(|group| output_width(config, group)).iter().sum() } else { 0 };
    2 * config.hidden_size
        + 2 * query
        + 2 * key
        + config.attention_heads
        + 2 * config.intermediate_size
        + raw
        + outputs
        + low_rank
        + plain
}

/// Values of a token in memory that all blocks share, and in the residual stream.
fn scratch_per_token(config: &ModelConfig, layout: &AdapterLayout, lora: &LoraConfig) -> usize {
    let heads = heads(config, 0);
    let low_rank = (0..GROUPS.len()).map(|group| layout.low_rank_width(group)).max().unwrap_or_default();
    let widest_output = GROUPS.map(|group| output_width(config, group)).into_iter().max().unwrap_or_default();
    let widest_input = config.hidden_size.max(config.intermediate_size).max(heads.query_width());
    let plain = if lora.dora { widest_output } else { 0 };
    let dropped = if lora.dropout > 0.0 { 2 * widest_input } else { 0 };
    // Residual stream, normalised rows and rows for the head, each with its gradient.
    6 * config.hidden_size
        + 2 * heads.query_width()
        + 2 * heads.key_value_width()
        + 2 * config.intermediate_size
        + low_rank
        + plain
        + dropped
}

/// Outputs of a group of layers.
fn output_width(config: &ModelConfig, group: &[crate::engine::TargetModule]) -> usize {
    group.iter().map(|module| features(config, *module).1).sum()
}

/// Weights of the largest group of layers.
fn widest_group(config: &ModelConfig) -> usize {
    let weights = |group: &[crate::engine::TargetModule]| -> usize {
        group.iter().map(|module| features(config, *module)).map(|(inner, outer)| inner * outer).sum()
    };
    GROUPS.map(weights).into_iter().max().unwrap_or_default()
}
