//! `clara adapter`: adapters in the forms that other programs want.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use clara_gpu_worker::{
    export::{self, ExportOptions, ExportRequest},
    model::Precision,
};

use super::{
    DONE,
    serve::{ModelArgs, Models, resolve},
};
use crate::session::Session;

/// What to do with adapters.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AdapterCommand {
    /// Write an adapter as a merged model, for llama.cpp or as a plain LoRA, and prove it by its logits
    #[command(
        after_help = "Examples:\n  clara adapter export verwaltungsrecht-lora@champion --to merged --dtype bf16 --out ./merged\n  clara adapter export verwaltungsrecht-lora-v1.0.0 --to gguf-lora --out ./law\n  clara adapter export ./dora --base-model model.gguf --to plain-lora --rank 32 --out ./plain\n\nPEFT, vLLM and LoRAX load a LoRA's own folder as it is; vLLM refuses a DoRA, llama.cpp too. What is written is read back, its logits are compared with those of the adapter on its base model, and the difference is kept in export.json."
    )]
    Export(Box<ExportArgs>),
}

/// What is exported, and where to.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArgs {
    /// A registered version (its id, or FAMILY@champion), or a PEFT folder
    adapter: String,
    #[command(flatten)]
    options: ExportOptions,
    /// Base model: a Hugging Face folder or a GGUF file [default: that of the registered adapter]
    #[arg(long, value_name = "PATH", env = "CLARA_BASE_MODEL")]
    base_model: Option<PathBuf>,
    /// How the base model was held in training: full, stored or nf4 [default: as the registered adapter was trained, else stored]
    #[arg(long, value_name = "PRECISION")]
    precision: Option<Precision>,
}

pub(crate) async fn run(session: &Session, command: AdapterCommand) -> Result<u8> {
    let AdapterCommand::Export(args) = command;
    let models = ModelArgs {
        base_model: args.base_model,
        precision: args.precision,
        adapters: vec![args.adapter.clone()],
    };
    let Models { base_model, precision, adapters } = resolve(session, &models).await?;
    let (_, adapter) = adapters.into_iter().next().context("no adapter was given")?;
    let request = args.options.request(adapter, base_model, precision)?;
    let base_model_digest = trained_on(session, &args.adapter).await?;
    let request = ExportRequest { base_model_digest, ..request };
    let report = tokio::task::spawn_blocking(move || export::export(&request)).await??;
    if session.output.is_json() {
        session.output.json(&report)?;
    } else {
        session.output.fields(&report.fields())?;
    }
    Ok(DONE)
}

/// Digest of the base model that a registered version was trained on; none for a folder.
async fn trained_on(session: &Session, adapter: &str) -> Result<Option<String>> {
    if Path::new(adapter).join("adapter_config.json").is_file() || adapter.contains('=') {
        return Ok(None);
    }
    let connection = session.connect().await?;
    Ok(Some(connection.client.adapter(adapter).await?.version.base_model_hash))
}
