//! `gpu-worker serve`: an OpenAI-compatible server in the foreground.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
};

use clap::Args;
use clara_runtime::{config::ComputeDevice, daemon};
use tokio_util::sync::CancellationToken;

use crate::{
    devices::Devices,
    model::Precision,
    model_cache::ModelCache,
    serve::{self, ServeConfig},
};

/// Serves a base model and adapters over HTTP, as OpenAI clients expect it.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Hugging Face folder or GGUF file of the base model.
    #[arg(long, value_name = "DIR|GGUF")]
    base: PathBuf,
    /// How the base model is held: stored (as its file holds it), full (f32) or nf4 (in four bits where the file does not
    /// quantise it, as adapters of QLoRA were trained on).
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::Stored)]
    precision: Precision,
    /// What to compute on: auto (a GPU where there is one that can), cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value = "auto", env = "CLARA_WORKER__DEVICE")]
    device: ComputeDevice,
    /// An adapter's name and PEFT folder; may be given several times.
    #[arg(long = "adapter", value_name = "NAME=DIR", value_parser = named_adapter)]
    adapters: Vec<(String, PathBuf)>,
    /// Adapters in this folder may be loaded and unloaded by calls while the server runs; without it none may.
    #[arg(long, value_name = "DIR")]
    adapter_folder: Option<PathBuf>,
    /// Name of the base model for callers; without it the folder's or file's own name.
    #[arg(long)]
    name: Option<String>,
    /// Address and port; there is no access control, so only open it to a network that you trust.
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Sequences that are continued together.
    #[arg(long, default_value_t = 16, value_parser = sequences)]
    sequences: usize,
    /// Longest answer in tokens where a request sets no limit.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    default_max_tokens: u32,
}

impl From<ServeArgs> for ServeConfig {
    fn from(args: ServeArgs) -> Self {
        Self {
            precision: args.precision,
            name: args.name,
            adapters: args.adapters,
            adapter_folder: args.adapter_folder,
            listen: args.listen,
            sequences: args.sequences,
            default_max_tokens: args.default_max_tokens,
            ..Self::new(args.base)
        }
    }
}

impl ServeArgs {
    /// Serves until SIGINT or SIGTERM.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let shutdown = CancellationToken::new();
        runtime.block_on(async {
            tokio::select! {
                ended = serve_until(self, shutdown.clone()) => ended,
                _ = daemon::signals("gpu-worker", &shutdown) => anyhow::bail!("ended before running answers were done"),
            }
        })
    }
}

async fn serve_until(args: ServeArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let models = ModelCache::on(Devices::open(args.device)?);
    let handle = serve::start(args.into(), &models).await?;
    writeln!(io::stderr(), "{} answers at {}", handle.base_name(), handle.base_url())?;
    shutdown.cancelled().await;
    handle.stop().await;
    Ok(())
}

/// Reads `NAME=DIR`.
pub(super) fn named_adapter(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, folder)) if !name.is_empty() && !folder.is_empty() => {
            Ok((name.to_owned(), folder.into()))
        }
        _ => Err("expected NAME=DIR, for example recht=adapters/recht".to_owned()),
    }
}

fn sequences(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=256) => Ok(count),
        _ => Err("expected 1 to 256".to_owned()),
    }
}
