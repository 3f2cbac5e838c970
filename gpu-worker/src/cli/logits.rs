//! `gpu-worker logits`: the logits of all positions of some prompts, as a safetensors file.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use safetensors::{Dtype, tensor::TensorView};
use serde::Deserialize;

use crate::{
    engine::{Decoder as _, reference::ReferenceDecoder},
    folder::write_file,
    model::{self, Precision},
    peft,
};

const ADAPTER: &str = "adapter";

/// Arguments of `gpu-worker logits`.
#[derive(Debug, Args)]
pub(super) struct LogitsArgs {
    /// Base model: a Hugging Face folder or a GGUF file.
    #[arg(long, value_name = "DIR|GGUF")]
    base: PathBuf,
    /// How the base model is held: full (f32), stored (as its file holds it) or nf4 (in four bits where the
    /// file does not quantise it, as adapters of QLoRA were trained on).
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::Full)]
    precision: Precision,
    /// PEFT folder of an adapter on that base model.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// JSON lines, each with a `text` or `prompt`, which is taken as it is, without a chat template.
    #[arg(long, value_name = "FILE")]
    prompts: PathBuf,
    /// Safetensors file: `ids.{i}` i64 [tokens] and `logits.{i}` f32 [tokens, vocabulary] for each prompt i.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Deserialize)]
struct Prompt {
    #[serde(alias = "prompt")]
    text: String,
}

impl LogitsArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let prompts = read_prompts(&self.prompts)?;
        let loaded = model::load(&self.base, self.precision)?;
        let adapter =
            self.adapter.as_deref().map(|folder| peft::read(folder, &loaded.base.config)).transpose()?;
        let vocab_size = loaded.base.config.vocab_size;
        let mut decoder = ReferenceDecoder::new(Arc::new(loaded.base))?;
        if let Some(adapter) = &adapter {
            decoder.add_adapter(ADAPTER, adapter)?;
        }
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::with_capacity(2 * prompts.len());
        for (index, prompt) in prompts.iter().enumerate() {
            let ids = loaded.tokenizer.encode_document(&prompt.text)?;
            ensure!(!ids.is_empty(), "prompt {} of {} has no token", index + 1, self.prompts.display());
            let logits = all_positions(&mut decoder, adapter.is_some(), &ids)?;
            let id_bytes = ids.iter().flat_map(|id| i64::from(*id).to_le_bytes()).collect();
            tensors.push((format!("ids.{index}"), Dtype::I64, vec![ids.len()], id_bytes));
            tensors.push((format!("logits.{index}"), Dtype::F32, vec![ids.len(), vocab_size], logits));
        }
        write_tensors(&self.out, &tensors)
    }
}

/// Little-endian f32 logits `[tokens, vocabulary]`: one token at a time, as in generation.
fn all_positions(decoder: &mut ReferenceDecoder, adapted: bool, ids: &[u32]) -> anyhow::Result<Vec<u8>> {
    let sequence = decoder.open(adapted.then_some(ADAPTER))?;
    let mut bytes = Vec::new();
    for id in ids {
        let logits = decoder.extend(&[(sequence, std::slice::from_ref(id))])?;
        bytes.extend(logits.iter().flatten().flat_map(|value| value.to_le_bytes()));
    }
    decoder.close(sequence)?;
    Ok(bytes)
}

fn read_prompts(path: &Path) -> anyhow::Result<Vec<Prompt>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(index, line)| {
        serde_json::from_str(line).with_context(|| format!("{}:{}: not a prompt", path.display(), index + 1))
    });
    parsed.collect()
}

fn write_tensors(path: &Path, tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]) -> anyhow::Result<()> {
    let mut views = Vec::with_capacity(tensors.len());
    for (name, dtype, shape, bytes) in tensors {
        views.push((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?));
    }
    write_file(path, &safetensors::serialize(views, None)?)?;
    Ok(())
}
