//! `clara model`: what a base model is, from its headers.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use clara_gpu_worker::model::{self, ModelInfo};

use super::DONE;
use crate::{figures, session::Session};

/// What to do with base models.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ModelCommand {
    /// Check a base model's files and tell its shape; nothing is loaded
    #[command(after_help = "Example:\n  clara model inspect model.gguf")]
    Inspect {
        /// A Hugging Face folder or a GGUF file
        path: PathBuf,
    },
}

pub(crate) fn run(session: &Session, command: &ModelCommand) -> Result<u8> {
    let ModelCommand::Inspect { path } = command;
    let info = model::inspect(path)?;
    if session.output.is_json() {
        session.output.json(&document(&info))?;
        return Ok(DONE);
    }
    let config = &info.config;
    // While training, weights are held as f32.
    let memory = info.parameters.saturating_mul(4);
    session.output.fields(&[
        ("model", info.name.clone()),
        ("parameters", format!("{} million", info.parameters / 1_000_000)),
        ("memory as f32", figures::bytes(memory)),
        ("layers", config.layers.to_string()),
        ("hidden size", config.hidden_size.to_string()),
        ("intermediate size", config.intermediate_size.to_string()),
        (
            "attention heads",
            format!("{} ({} for keys and values)", config.attention_heads, config.key_value_heads),
        ),
        ("vocabulary", config.vocab_size.to_string()),
        ("longest sequence", format!("{} tokens", config.max_positions)),
    ])?;
    Ok(DONE)
}

fn document(info: &ModelInfo) -> serde_json::Value {
    let config = &info.config;
    serde_json::json!({
        "name": info.name,
        "parameters": info.parameters,
        "layers": config.layers,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "attention_heads": config.attention_heads,
        "key_value_heads": config.key_value_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "max_positions": config.max_positions,
        "tie_word_embeddings": config.tie_word_embeddings,
    })
}
