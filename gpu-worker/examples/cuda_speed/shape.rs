//! Shapes of models, as their public configurations have them.

use clap::ValueEnum;
use clara_gpu_worker::{
    engine::{TargetModule, reference::features},
    model::{Llama3Scaling, ModelConfig, RopeScaling, Variant},
};

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Shape {
    #[value(name = "smollm2-135m")]
    Smollm2,
    #[value(name = "llama-3.1-8b")]
    Llama,
    #[value(name = "qwen2.5-7b")]
    Qwen,
}

/// The public configurations of the models.
pub(crate) fn shape(shape: Shape) -> ModelConfig {
    let llama = ModelConfig {
        hidden_size: 4096,
        intermediate_size: 14336,
        layers: 32,
        attention_heads: 32,
        key_value_heads: 8,
        head_dim: 128,
        vocab_size: 128_256,
        rms_norm_eps: 1e-5,
        rope_theta: 500_000.0,
        rope_scaling: Some(RopeScaling::Llama3(Llama3Scaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: 8192,
        })),
        max_positions: 131_072,
        tie_word_embeddings: false,
        bos_token: None,
        eos_tokens: vec![0],
        variant: Variant::default(),
    };
    match shape {
        Shape::Llama => llama,
        Shape::Qwen => ModelConfig {
            hidden_size: 3584,
            intermediate_size: 18944,
            layers: 28,
            attention_heads: 28,
            key_value_heads: 4,
            vocab_size: 152_064,
            rms_norm_eps: 1e-6,
            rope_theta: 1e6,
            rope_scaling: None,
            max_positions: 32_768,
            variant: Variant { query_key_value_bias: true, ..Variant::default() },
            ..llama
        },
        Shape::Smollm2 => ModelConfig {
            hidden_size: 576,
            intermediate_size: 1536,
            layers: 30,
            attention_heads: 9,
            key_value_heads: 3,
            head_dim: 64,
            vocab_size: 49_152,
            rope_theta: 100_000.0,
            rope_scaling: None,
            max_positions: 8192,
            tie_word_embeddings: true,
            ..llama
        },
    }
}

pub(crate) fn name(shape: Shape) -> &'static str {
    match shape {
        Shape::Smollm2 => "smollm2-135m",
        Shape::Llama => "llama-3.1-8b",
        Shape::Qwen => "qwen2.5-7b",
    }
}

/// Weights that products read: the linear layers of all blocks and the head.
pub(crate) fn weights(config: &ModelConfig) -> usize {
    let block: usize = TargetModule::ALL
        .iter()
        .map(|module| features(config, *module))
        .map(|(inner, outer)| inner * outer)
        .sum();
    block * config.layers + config.hidden_size * config.vocab_size
}
