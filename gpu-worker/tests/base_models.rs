//! Base models read from files, and adapters that PEFT wrote, give the logits that transformers and PEFT give.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use clara_gpu_worker::{
    engine::{Decoder, reference::ReferenceDecoder},
    model, peft,
};
use safetensors::{Dtype, SafeTensors};

/// Largest accepted difference of a logit.
const LIMIT: f32 = 1e-4;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

/// The values of one tensor as 32-bit words, or the lower halves of 64-bit ones.
fn words(file: &str, tensor: &str) -> Result<Vec<[u8; 4]>> {
    let path = fixture(file);
    let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let view = tensors.tensor(tensor)?;
    let (words, _) = view.data().as_chunks::<4>();
    let every = if view.dtype() == Dtype::I64 { 2 } else { 1 };
    Ok(words.iter().step_by(every).copied().collect())
}

fn floats(file: &str, tensor: &str) -> Result<Vec<f32>> {
    Ok(words(file, tensor)?.into_iter().map(f32::from_le_bytes).collect())
}

fn tokens(file: &str) -> Result<Vec<u32>> {
    Ok(words(file, "input_ids")?.into_iter().map(u32::from_le_bytes).collect())
}

/// The largest difference between the logits of every position and those in the fixture.
fn difference(model: &str, adapter: Option<&str>, tokens: &[u32], expected: &[f32]) -> Result<f32> {
    let base = Arc::new(model::load(&fixture(model), model::Precision::Full)?.base);
    let mut decoder = ReferenceDecoder::new(Arc::clone(&base))?;
    if let Some(folder) = adapter {
        decoder.add_adapter(folder, &peft::read(&fixture(folder), &base.config)?)?;
    }
    let sequence = decoder.open(adapter)?;
    let mut found = Vec::with_capacity(expected.len());
    for token in tokens {
        found.extend(decoder.extend(&[(sequence, &[*token])])?.into_iter().flatten());
    }
    ensure!(found.len() == expected.len(), "{} logits, expected {}", found.len(), expected.len());
    ensure!(found.iter().all(|logit| logit.is_finite()), "logits that are not finite");
    Ok(found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max))
}

#[test]
fn a_folder_and_a_gguf_file_give_the_logits_of_transformers() -> Result<()> {
    let oracle = "peft-tiny/oracle.safetensors";
    let (tokens, expected) = (tokens(oracle)?, floats(oracle, "base_logits")?);
    for model in ["tiny-llama", "tiny-llama.gguf"] {
        let difference = difference(model, None, &tokens, &expected)?;
        assert!(difference <= LIMIT, "{model}: logits differ by {difference:e}");
    }
    Ok(())
}

#[test]
fn an_adapter_written_by_peft_gives_its_logits_on_both_forms_of_the_base_model() -> Result<()> {
    let oracle = "peft-tiny/oracle.safetensors";
    let (tokens, expected) = (tokens(oracle)?, floats(oracle, "logits")?);
    for model in ["tiny-llama", "tiny-llama.gguf"] {
        let difference = difference(model, Some("peft-tiny/init"), &tokens, &expected)?;
        assert!(difference <= LIMIT, "{model}: logits differ by {difference:e}");
    }
    Ok(())
}

#[test]
fn an_own_output_head_and_rescaled_positions_give_the_logits_of_transformers() -> Result<()> {
    let oracle = "tiny-llama3.safetensors";
    let difference = difference("tiny-llama3", None, &tokens(oracle)?, &floats(oracle, "logits")?)?;
    assert!(difference <= LIMIT, "logits differ by {difference:e}");
    Ok(())
}
