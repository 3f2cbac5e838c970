//! A tiny random Llama and batches for tests.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "test values are small"
)]

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    engine::{Batch, IGNORED, LoraConfig, TargetModule},
    model::{BaseModel, HostTensor, ModelConfig, Variant},
    ops::testing::random,
};

/// Two layers, grouped heads, tied embeddings, vocabulary of 31.
pub(crate) fn tiny_config() -> ModelConfig {
    ModelConfig {
        hidden_size: 12,
        intermediate_size: 20,
        layers: 2,
        attention_heads: 4,
        key_value_heads: 2,
        head_dim: 4,
        vocab_size: 31,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        max_positions: 700,
        tie_word_embeddings: true,
        bos_token: Some(1),
        eos_tokens: vec![2],
        variant: Variant::default(),
    }
}

/// A model with random weights of the given shape.
pub(crate) fn random_model(config: ModelConfig) -> Arc<BaseModel> {
    let mut shapes =
        vec![("model.embed_tokens.weight".to_owned(), vec![config.vocab_size, config.hidden_size])];
    for layer in 0..config.layers {
        for module in TargetModule::ALL {
            let (columns, rows) = super::weights::features(&config, module);
            shapes.push((module.weight_name(layer), vec![rows, columns]));
        }
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            shapes.push((format!("model.layers.{layer}.{norm}.weight"), vec![config.hidden_size]));
        }
    }
    shapes.push(("model.norm.weight".to_owned(), vec![config.hidden_size]));
    if !config.tie_word_embeddings {
        shapes.push(("lm_head.weight".to_owned(), vec![config.vocab_size, config.hidden_size]));
    }
    let mut tensors = BTreeMap::new();
    for (seed, (name, shape)) in shapes.into_iter().enumerate() {
        let mut values = random(seed as u64, shape.iter().product());
        let norm = shape.len() == 1;
        for v in &mut values {
            *v = if norm { 1.0 + 0.3 * *v } else { 0.6 * *v };
        }
        tensors.insert(name, HostTensor { shape, values });
    }
    Arc::new(BaseModel {
        config,
        tensors,
        digest: "0".repeat(64),
        name: "tiny".to_owned(),
        quantised: BTreeMap::new(),
    })
}

/// All modules, rank 3.
pub(crate) fn lora() -> LoraConfig {
    LoraConfig {
        rank: 3,
        frozen_rank: 0,
        alpha: 6.0,
        targets: TargetModule::ALL.to_vec(),
        dora: false,
        dropout: 0.0,
    }
}

/// Documents of the given lengths with next-token labels; the first token of each is not learned.
pub(crate) fn packed(lengths: &[usize], vocab_size: usize) -> Batch {
    let (mut tokens, mut labels, mut documents): (Vec<u32>, Vec<i64>, Vec<_>) = (vec![], vec![], vec![]);
    for (index, length) in lengths.iter().enumerate() {
        let start = tokens.len();
        let text = random(100 + index as u64, *length);
        tokens.extend(text.iter().map(|v| ((v + 1.0) * 0.499 * vocab_size as f32) as u32));
        labels.extend(tokens[start + 1..].iter().map(|t| i64::from(*t)));
        labels.push(IGNORED);
        labels[start] = IGNORED;
        documents.push(start..tokens.len());
    }
    Batch { tokens, labels, documents }
}
