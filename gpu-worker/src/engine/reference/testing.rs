//! A tiny random Llama and batches for tests.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "test values are small"
)]

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    engine::{Batch, Decoder, EngineError, IGNORED, LoraConfig, SequenceId, TargetModule},
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

/// Asks a decoder without sequences for what no decoder can do; it has an adapter `one`, which is gone afterwards.
pub(crate) fn refuses_the_impossible(decoder: &mut dyn Decoder, config: &ModelConfig) {
    let ModelConfig { vocab_size, max_positions, .. } = *config;
    let outside = vocab_size as u32;
    let id = decoder.open(Some("one")).unwrap();
    decoder.extend(&[(id, &[1, 2, 3])]).unwrap();
    let unknown = SequenceId(99);
    assert_eq!(
        decoder.open(Some("three")).unwrap_err(),
        EngineError::UnknownAdapter { name: "three".to_owned() }
    );
    assert_eq!(
        decoder.extend(&[(id, &[1]), (unknown, &[1])]).unwrap_err(),
        EngineError::UnknownSequence { id: 99 }
    );
    assert_eq!(
        decoder.extend(&[(id, &[1]), (id, &[1])]).unwrap_err(),
        EngineError::RepeatedSequence { id: id.0 }
    );
    assert_eq!(decoder.extend(&[(id, &[])]).unwrap_err(), EngineError::NothingToExtend { id: id.0 });
    let refused = decoder.extend(&[(id, &[1, outside])]).unwrap_err();
    assert_eq!(refused, EngineError::TokenRange { token: i64::from(outside), position: 4, vocab_size });
    let refused = decoder.extend(&[(id, &vec![1; max_positions - 2])]).unwrap_err();
    assert_eq!(refused, EngineError::SequenceTooLong { length: max_positions + 1, max_positions });
    assert_eq!(decoder.score(None, &[1, 2], 0).unwrap_err(), EngineError::ScoreStart { from: 0, length: 2 });
    assert_eq!(decoder.score(None, &[1, 2], 3).unwrap_err(), EngineError::ScoreStart { from: 3, length: 2 });
    let refused = decoder.score(Some("three"), &[1, 2], 1).unwrap_err();
    assert_eq!(refused, EngineError::UnknownAdapter { name: "three".to_owned() });
    let refused = decoder.remove_adapter("one").unwrap_err();
    assert_eq!(refused, EngineError::AdapterInUse { name: "one".to_owned(), sequences: 1 });
    assert_eq!(decoder.length(id).unwrap(), 3);
    decoder.close(id).unwrap();
    decoder.remove_adapter("one").unwrap();
    assert_eq!(decoder.close(id).unwrap_err(), EngineError::UnknownSequence { id: id.0 });
    assert_eq!(decoder.length(id).unwrap_err(), EngineError::UnknownSequence { id: id.0 });
    let refused = decoder.remove_adapter("one").unwrap_err();
    assert_eq!(refused, EngineError::UnknownAdapter { name: "one".to_owned() });
}
