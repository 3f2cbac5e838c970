//! The arguments of an export, shared by the command lines.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ExportError, ExportFormat, ExportRequest, WeightType};
use crate::model::{ModelError, Precision};

/// Which form, where to, and what is compared.
#[derive(Debug, Clone, Args)]
pub struct ExportOptions {
    /// The form that the adapter gets
    #[arg(long, value_enum, value_name = "FORM")]
    to: Form,
    /// Rank of a plain-lora; the higher, the closer to a DoRA [default: twice that of a DoRA, that of a LoRA]
    #[arg(long)]
    rank: Option<usize>,
    /// Type of the weights of merged and gguf-lora: f32, bf16 or f16 [default: f32]
    #[arg(long, value_name = "TYPE")]
    dtype: Option<WeightType>,
    /// Folder that is made
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Plain text, a sample a line, to compare logits on beside the built-in samples; the first ten are taken
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// Replace an earlier export in that folder
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The base model with the adapter in its weights: a Hugging Face folder for any server
    Merged,
    /// The adapter as a GGUF file for llama.cpp
    GgufLora,
    /// A LoRA without magnitudes close to a DoRA, for servers that refuse DoRA, such as vLLM
    PlainLora,
}

impl ExportOptions {
    /// The request for an adapter on its base model.
    ///
    /// # Errors
    /// [`ExportError::Options`] for an option that the form does not have, [`ExportError::Model`] for texts that cannot be read.
    pub fn request(
        self,
        adapter: PathBuf,
        base_model: PathBuf,
        precision: Precision,
    ) -> Result<ExportRequest, ExportError> {
        let mut texts = Vec::new();
        if let Some(path) = &self.texts {
            let text = std::fs::read_to_string(path).map_err(|source| ModelError::io(path, source))?;
            texts.extend(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
        }
        Ok(ExportRequest {
            base_model,
            precision,
            base_model_digest: None,
            adapter,
            format: self.format()?,
            out: self.out,
            replace: self.force,
            texts,
        })
    }

    fn format(&self) -> Result<ExportFormat, ExportError> {
        let refused = |option: &str, form: &str| {
            Err(ExportError::Options(format!("--{option} has no meaning with --to {form}; leave it out")))
        };
        let weights = self.dtype.unwrap_or_default();
        match (self.to, self.rank, self.dtype) {
            (Form::Merged, Some(_), _) => refused("rank", "merged"),
            (Form::GgufLora, Some(_), _) => refused("rank", "gguf-lora"),
            (Form::PlainLora, _, Some(_)) => refused("dtype", "plain-lora"),
            (Form::Merged, None, _) => Ok(ExportFormat::Merged(weights)),
            (Form::GgufLora, None, _) => Ok(ExportFormat::GgufLora(weights)),
            (Form::PlainLora, rank, None) => Ok(ExportFormat::PlainLora(rank)),
        }
    }
}
