//! Shapes of models, as their public configurations have them.

use std::collections::BTreeMap;

use clap::ValueEnum;
use clara_gpu_worker::{
    engine::{AdapterWeights, LoraConfig, TargetModule, reference::features},
    model::{BaseModel, HostTensor, Llama3Scaling, ModelConfig, Quantised, RopeScaling, Variant},
    nf4::Nf4Tensor,
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

/// A LoRA adapter of a rank on all linear layers; alpha is twice the rank.
pub(crate) fn lora(rank: usize) -> LoraConfig {
    LoraConfig {
        rank,
        frozen_rank: 0,
        alpha: 2.0 * rank as f32,
        targets: TargetModule::ALL.to_vec(),
        dora: false,
        dropout: 0.0,
    }
}

/// An adapter with drawn values.
pub(crate) fn drawn_adapter(config: &ModelConfig, rank: usize, seed: u64) -> AdapterWeights {
    let mut draw = Draw(seed);
    let mut tensors = BTreeMap::new();
    for layer in 0..config.layers {
        for module in TargetModule::ALL {
            let (inner, outer) = features(config, module);
            tensors.insert(module.lora_a_name(layer), draw.tensor(vec![rank, inner], 0.0));
            tensors.insert(module.lora_b_name(layer), draw.tensor(vec![outer, rank], 0.0));
        }
    }
    AdapterWeights { config: lora(rank), tensors }
}

/// A model with drawn weights whose linear layers are held in four bits; every block holds the same ones.
pub(crate) fn drawn_nf4(model: Shape) -> BaseModel {
    let config = shape(model);
    let mut draw = Draw(1);
    let mut tensors = BTreeMap::new();
    let (hidden, vocabulary) = (config.hidden_size, config.vocab_size);
    tensors.insert("model.embed_tokens.weight".to_owned(), draw.tensor(vec![vocabulary, hidden], 0.0));
    tensors.insert("model.norm.weight".to_owned(), draw.tensor(vec![hidden], 1.0));
    if !config.tie_word_embeddings {
        tensors.insert("lm_head.weight".to_owned(), draw.tensor(vec![vocabulary, hidden], 0.0));
    }
    let mut quantised = BTreeMap::new();
    for module in TargetModule::ALL {
        let (inner, outer) = features(&config, module);
        let matrix = Nf4Tensor::quantise(&draw.tensor(vec![outer, inner], 0.0).values, outer, inner);
        for layer in 0..config.layers {
            quantised.insert(module.weight_name(layer), Quantised::Nf4(matrix.clone()));
        }
    }
    for layer in 0..config.layers {
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            tensors.insert(format!("model.layers.{layer}.{norm}.weight"), draw.tensor(vec![hidden], 1.0));
        }
    }
    BaseModel { config, tensors, quantised, digest: "0".repeat(64), name: name(model).to_owned() }
}

struct Draw(u64);

impl Draw {
    /// Values within 0.02 around `middle`.
    fn tensor(&mut self, shape: Vec<usize>, middle: f32) -> HostTensor {
        let count = shape.iter().product();
        let mut next = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            middle + 0.04 * ((self.0 >> 40) as f32 / (1_u64 << 24) as f32 - 0.5)
        };
        HostTensor { shape, values: (0..count).map(|_| next()).collect() }
    }
}
