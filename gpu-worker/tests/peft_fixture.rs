//! Holds the reference engine against what PyTorch and PEFT computed on a tiny Llama (`tests/fixtures/peft-tiny`).

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use clara_gpu_worker::{
    engine::{
        AdapterWeights, Batch, Decoder as _, Engine as _, IGNORED, LoraConfig, StepOptions, TargetModule,
        reference::{ReferenceDecoder, ReferenceEngine},
    },
    model::{BaseModel, HostTensor, ModelConfig, Variant},
};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

const RELATIVE: f32 = 1e-4;
const ABSOLUTE: f32 = 1e-4;

#[test]
fn loss_and_every_gradient_agree_with_peft() -> Result<()> {
    let oracle = floats("peft-tiny/oracle.safetensors")?;
    let mut engine = engine()?;
    let batch = batch("input_ids", "labels", &[64])?;
    let loss = engine.forward_backward(&batch, 34)?;
    assert_eq!(loss.target_tokens, 34);
    assert_relative(loss.loss_sum / 34.0, oracle["losses"].values[0]);
    assert_gradients(&engine, &oracle, "grad.")
}

#[test]
fn packed_documents_agree_with_peft() -> Result<()> {
    let oracle = floats("peft-tiny/oracle.safetensors")?;
    let mut engine = engine()?;
    let batch = batch("packed.input_ids", "packed.labels", &[64, 18])?;
    let loss = engine.forward_backward(&batch, 51)?;
    assert_eq!(loss.target_tokens, 51);
    assert_relative(loss.loss_sum / 51.0, oracle["packed.loss"].values[0]);
    assert_gradients(&engine, &oracle, "packed.grad.")
}

#[test]
fn ten_steps_end_in_the_same_adapter_as_peft() -> Result<()> {
    let oracle = floats("peft-tiny/oracle.safetensors")?;
    let mut engine = engine()?;
    let batch = batch("input_ids", "labels", &[64])?;
    let options = StepOptions {
        learning_rate: 1e-3,
        weight_decay: 0.01,
        max_grad_norm: Some(1.0),
        ..StepOptions::default()
    };
    for (loss, norm) in oracle["losses"].values.iter().zip(&oracle["grad_norms"].values) {
        let got = engine.forward_backward(&batch, 34)?;
        assert_relative(got.loss_sum / 34.0, *loss);
        let report = engine.step(&options)?;
        assert_relative(report.grad_norm, *norm);
        assert!(report.clipped);
    }
    let (got, expected) =
        (engine.save()?.adapter.tensors, floats("peft-tiny/final/adapter_model.safetensors")?);
    assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, tensor) in &expected {
        assert_eq!(got[name].shape, tensor.shape, "{name}");
        let difference = largest_difference(&got[name].values, &tensor.values);
        assert!(difference <= ABSOLUTE, "{name} differs by {difference}");
    }
    Ok(())
}

#[test]
fn decoded_logits_agree_with_transformers_with_and_without_adapter() -> Result<()> {
    let oracle = floats("peft-tiny/oracle.safetensors")?;
    let mut decoder = ReferenceDecoder::new(base()?)?;
    decoder.add_adapter("init", &adapter("init")?)?;
    let tokens = batch("input_ids", "labels", &[64])?.tokens;
    let (bare, adapted) = (decoder.open(None)?, decoder.open(Some("init"))?);
    for (position, token) in tokens.iter().enumerate() {
        let logits = decoder.extend(&[(bare, &[*token]), (adapted, &[*token])])?;
        for (logits, name) in logits.iter().zip(["base_logits", "logits"]) {
            let expected = &oracle[name].values[position * 320..(position + 1) * 320];
            let difference = largest_difference(logits, expected);
            assert!(difference <= ABSOLUTE, "{name} at {position} differ by {difference}");
        }
    }
    Ok(())
}

fn assert_gradients(
    engine: &ReferenceEngine,
    oracle: &BTreeMap<String, HostTensor>,
    prefix: &str,
) -> Result<()> {
    let gradients = engine.gradients()?;
    assert_eq!(gradients.len(), oracle.keys().filter(|name| name.starts_with(prefix)).count());
    for (name, got) in &gradients {
        let expected =
            oracle.get(&format!("{prefix}{name}")).with_context(|| format!("no oracle for {name}"))?;
        assert_eq!(got.shape, expected.shape, "{name}");
        let largest = expected.values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        assert!(largest > 0.0, "the gradient of {name} is zero");
        let difference = largest_difference(&got.values, &expected.values);
        assert!(
            difference <= RELATIVE * largest,
            "{name} differs by {difference}, its largest value is {largest}"
        );
    }
    Ok(())
}

#[track_caller]
fn assert_relative(got: f64, expected: f32) {
    let expected = f64::from(expected);
    assert!((got - expected).abs() <= f64::from(RELATIVE) * expected.abs(), "got {got}, expected {expected}");
}

fn largest_difference(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).fold(0.0, |largest, (got, expected)| (got - expected).abs().max(largest))
}

fn engine() -> Result<ReferenceEngine> {
    let mut engine = ReferenceEngine::new(base()?)?;
    engine.load_adapter(&adapter("init")?)?;
    Ok(engine)
}

fn adapter(folder: &str) -> Result<AdapterWeights> {
    let config = LoraConfig {
        rank: 4,
        frozen_rank: 0,
        alpha: 8.0,
        targets: TargetModule::ALL.to_vec(),
        dora: false,
        dropout: 0.0,
    };
    Ok(AdapterWeights { config, tensors: floats(&format!("peft-tiny/{folder}/adapter_model.safetensors"))? })
}

fn base() -> Result<Arc<BaseModel>> {
    let text = std::fs::read_to_string(path("tiny-llama/config.json"))?;
    let json: Value = serde_json::from_str(&text)?;
    let size = |name: &str| -> Result<usize> {
        let value = json.get(name).and_then(Value::as_u64).with_context(|| format!("{name} is no number"))?;
        Ok(usize::try_from(value)?)
    };
    let real = |name: &str| -> Result<f32> { Ok(json.get(name).context("no number")?.to_string().parse()?) };
    let config = ModelConfig {
        hidden_size: size("hidden_size")?,
        intermediate_size: size("intermediate_size")?,
        layers: size("num_hidden_layers")?,
        attention_heads: size("num_attention_heads")?,
        key_value_heads: size("num_key_value_heads")?,
        head_dim: size("hidden_size")? / size("num_attention_heads")?,
        vocab_size: size("vocab_size")?,
        rms_norm_eps: real("rms_norm_eps")?,
        rope_theta: real("rope_theta")?,
        rope_scaling: None,
        max_positions: size("max_position_embeddings")?,
        tie_word_embeddings: json.get("tie_word_embeddings").and_then(Value::as_bool).context("no flag")?,
        bos_token: None,
        eos_tokens: vec![2],
        variant: Variant::default(),
    };
    let tensors = floats("tiny-llama/model.safetensors")?;
    Ok(Arc::new(BaseModel {
        config,
        tensors,
        digest: String::new(),
        name: "tiny-llama".to_owned(),
        quantised: BTreeMap::new(),
    }))
}

/// The oracle's tokens; its labels are unshifted, ours name the token that follows.
fn batch(tokens: &str, labels: &str, lengths: &[usize]) -> Result<Batch> {
    let bytes = std::fs::read(path("peft-tiny/oracle.safetensors"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let read = |name: &str| -> Result<Vec<i64>> {
        let view = file.tensor(name)?;
        anyhow::ensure!(view.dtype() == Dtype::I64, "{name} is {:?}", view.dtype());
        Ok(view.data().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
    };
    let tokens: Vec<u32> = read(tokens)?.into_iter().map(u32::try_from).collect::<Result<_, _>>()?;
    let unshifted = read(labels)?;
    let mut labels: Vec<i64> = unshifted.iter().skip(1).copied().collect();
    labels.push(IGNORED);
    let mut start = 0;
    let documents = lengths.iter().map(|length| {
        start += length;
        start - length..start
    });
    Ok(Batch { tokens, labels, documents: documents.collect() })
}

fn floats(file: &str) -> Result<BTreeMap<String, HostTensor>> {
    let bytes = std::fs::read(path(file)).with_context(|| format!("cannot read {file}"))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(&bytes)?.tensors() {
        if view.dtype() == Dtype::F32 {
            let values =
                view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            tensors.insert(name, HostTensor { shape: view.shape().to_vec(), values });
        }
    }
    Ok(tensors)
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(file)
}
