//! A base model in memory: its configuration and its weights as f32, under Hugging Face tensor names.

use std::collections::BTreeMap;

/// A dense row-major f32 tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Sizes of the dimensions, outermost first; the product equals `values.len()`.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub values: Vec<f32>,
}

/// Rescaling of rotary frequencies, as Llama 3 defines it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeScaling {
    /// How far the context was stretched, e.g. 8.
    pub factor: f32,
    /// Wavelengths above `original_max_positions / low_freq_factor` are divided by `factor`.
    pub low_freq_factor: f32,
    /// Wavelengths below `original_max_positions / high_freq_factor` stay as they are.
    pub high_freq_factor: f32,
    /// Context length before stretching.
    pub original_max_positions: usize,
}

/// Shape and constants of a Llama-family decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width between the gate/up and the down projection.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub layers: usize,
    /// Query heads.
    pub attention_heads: usize,
    /// Key and value heads; divides `attention_heads`.
    pub key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Added to the mean square in RMS normalisation.
    pub rms_norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Llama 3 frequency rescaling, where the model has one.
    pub rope_scaling: Option<RopeScaling>,
    /// Longest sequence the model was made for.
    pub max_positions: usize,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
    /// Beginning-of-sequence token, where the model has one.
    pub bos_token: Option<u32>,
    /// Tokens that end a generation; at least one.
    pub eos_tokens: Vec<u32>,
}

/// A frozen base model.
#[derive(Debug, Clone)]
pub struct BaseModel {
    /// Shape and constants.
    pub config: ModelConfig,
    /// Weights by Hugging Face name, e.g. `model.layers.0.self_attn.q_proj.weight` `[out, in]`;
    /// `lm_head.weight` is absent when the embeddings are tied.
    pub tensors: BTreeMap<String, HostTensor>,
    /// SHA-256, lower-case hex, of the weight files and the configuration.
    pub digest: String,
    /// Name for people and for `adapter_config.json`, e.g. the folder's name.
    pub name: String,
}
