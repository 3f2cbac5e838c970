//! The engine on every device at hand against the reference engine.

mod methods;

use std::sync::Arc;

use half::bf16;

use super::*;
use crate::{
    cuda::testing::devices,
    engine::{
        TargetModule,
        reference::{
            ReferenceEngine,
            testing::{lora, packed, random_model, tiny_config},
        },
    },
    model::{Quantised, Variant, tensor_shapes},
    nf4::Nf4Tensor,
    ops::{gated::Activation, testing::random},
};

/// Two layers with widths that the kernels take, and a vocabulary that is no multiple of 8.
pub(super) fn config() -> ModelConfig {
    ModelConfig {
        hidden_size: 48,
        intermediate_size: 88,
        attention_heads: 4,
        key_value_heads: 2,
        head_dim: 16,
        vocab_size: 61,
        ..tiny_config()
    }
}

/// A model whose matrices and biases bf16 holds exactly, so that engines differ in their arithmetic alone.
pub(super) fn model(config: ModelConfig) -> Arc<BaseModel> {
    let mut model = Arc::unwrap_or_clone(random_model(config));
    for (seed, (name, shape)) in (1000..).zip(tensor_shapes(&model.config)) {
        let around = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
        model.tensors.entry(name).or_insert_with(|| {
            let values = random(seed, shape.iter().product());
            HostTensor { shape, values: values.iter().map(|value| around + 0.3 * value).collect() }
        });
    }
    for (name, tensor) in &mut model.tensors {
        let is_small = tensor.shape.len() > 1;
        for value in &mut tensor.values {
            // Scores of sharp attention would show the rounding of bf16 and nothing else.
            let scaled = if is_small { *value * 0.4 } else { *value };
            *value = bf16::from_f32(scaled).to_f32();
        }
        assert!(!tensor.values.is_empty(), "{name}");
    }
    Arc::new(model)
}

/// A model whose linear layers are held in four bits.
pub(super) fn nf4_model(config: ModelConfig) -> Arc<BaseModel> {
    let mut model = Arc::unwrap_or_clone(model(config));
    for layer in 0..model.config.layers {
        for module in TargetModule::ALL {
            let name = module.weight_name(layer);
            let HostTensor { shape, values } = model.tensors.remove(&name).unwrap();
            let tensor = Nf4Tensor::quantise(&values, shape[0], shape[1]);
            model.quantised.insert(name, Quantised::Nf4(tensor));
        }
    }
    Arc::new(model)
}

/// As Qwen's: biases and normalised heads.
pub(super) fn qwen_config() -> ModelConfig {
    let variant = Variant { query_key_value_bias: true, query_key_norm: true, ..config().variant };
    ModelConfig { variant, ..config() }
}

/// As Gemma's: normalised heads and outputs, a window with a rotation of its own, GELU and a scaled embedding.
pub(super) fn gemma_config() -> ModelConfig {
    let variant = Variant {
        query_key_norm: true,
        output_norms: true,
        activation: Activation::Gelu,
        embedding_scale: Some(48.0_f32.sqrt()),
        score_scale: Some(0.2),
        window: Some(9),
        windowed_layers: vec![true, false],
        windowed_rope_theta: Some(1_000.0),
        ..config().variant
    };
    ModelConfig { variant, head_dim: 32, key_value_heads: 1, ..config() }
}

#[test]
fn a_model_that_there_is_no_kernel_for_is_refused_with_the_reason() {
    let capped = Variant { logit_cap: Some(30.0), ..config().variant };
    for (model, part) in [
        (ModelConfig { variant: capped, ..config() }, "capped at 30"),
        (ModelConfig { head_dim: 24, ..config() }, "24 wide"),
        (ModelConfig { hidden_size: 36, ..config() }, "hidden_size is 36"),
    ] {
        let refused = super::check(&model).unwrap_err();
        assert!(matches!(refused, EngineError::Unsupported { .. }), "{refused}");
        assert!(refused.to_string().contains(part), "{refused}");
    }
    super::check(&gemma_config()).unwrap();
}

fn distance(got: &BTreeMap<String, HostTensor>, expected: &BTreeMap<String, HostTensor>) -> f64 {
    assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    let (mut error, mut size) = (0.0, 0.0);
    for (name, expected) in expected {
        assert_eq!(got[name].shape, expected.shape, "{name}");
        for (got, expected) in got[name].values.iter().zip(&expected.values) {
            error += f64::from(got - expected).powi(2);
            size += f64::from(*expected).powi(2);
        }
    }
    assert!(size > 0.0, "the expected values are all zero");
    (error / size).sqrt()
}

/// Two passes and their gradients, a step, and two more.
fn agree(base: &Arc<BaseModel>, lora: &LoraConfig, tolerance: f64) {
    for device in devices() {
        let mut reference = ReferenceEngine::new(Arc::clone(base)).unwrap();
        let mut engine = CudaEngine::new(device, Arc::clone(base)).unwrap();
        let batches =
            [packed(&[5, 70, 1, 30], base.config.vocab_size), packed(&[64], base.config.vocab_size)];
        let losses = (engine.evaluate(&batches[0]).unwrap(), reference.evaluate(&batches[0]).unwrap());
        assert!((losses.0.loss_sum / losses.1.loss_sum - 1.0).abs() < tolerance, "{losses:?}");
        reference.init_adapter(lora, 7).unwrap();
        engine.init_adapter(lora, 7).unwrap();
        let targets = batches.iter().flat_map(|batch| &batch.labels).filter(|label| **label >= 0).count();
        let options = StepOptions { learning_rate: 1e-2, ..StepOptions::default() };
        for step in 0..3 {
            for batch in &batches {
                let expected = reference.forward_backward(batch, targets).unwrap();
                let got = engine.forward_backward(batch, targets).unwrap();
                assert_eq!(got.target_tokens, expected.target_tokens);
                let ratio = got.loss_sum / expected.loss_sum;
                assert!((ratio - 1.0).abs() < tolerance, "step {step}: {got:?} against {expected:?}");
            }
            let (got, expected) = (engine.gradients().unwrap(), reference.gradients().unwrap());
            let error = distance(&got, &expected);
            assert!(error < 4.0 * tolerance, "gradients of step {step} differ by {error}");
            let (got, expected) = (engine.step(&options).unwrap(), reference.step(&options).unwrap());
            assert!(
                (got.grad_norm / expected.grad_norm - 1.0).abs() < 4.0 * tolerance,
                "{got:?} {expected:?}"
            );
            assert!(got.grad_norm > 0.0);
            // The first steps of AdamW go by signs: what is left apart then is not the engine's.
            engine.restore(&reference.save().unwrap()).unwrap();
        }
        let loss = (engine.evaluate(&batches[0]).unwrap(), reference.evaluate(&batches[0]).unwrap());
        assert!((loss.0.loss_sum / loss.1.loss_sum - 1.0).abs() < tolerance, "{loss:?}");
    }
}

#[test]
fn agrees_with_the_reference() {
    agree(&model(config()), &lora(), 0.01);
}

#[test]
fn agrees_with_some_layers_adapted() {
    let some = LoraConfig {
        rank: 9,
        targets: vec![TargetModule::Query, TargetModule::Value, TargetModule::Down],
        ..lora()
    };
    agree(&model(config()), &some, 0.01);
    let others = LoraConfig { rank: 1, targets: vec![TargetModule::Output, TargetModule::Up], ..lora() };
    agree(&model(config()), &others, 0.01);
}

#[test]
fn agrees_for_an_untied_head_and_a_window() {
    let variant = Variant { window: Some(9), windowed_layers: vec![true, false], ..config().variant };
    let config = ModelConfig { tie_word_embeddings: false, variant, head_dim: 32, ..config() };
    agree(&model(config), &lora(), 0.01);
}
