//! `clara serve`: a base model and adapters for OpenAI clients.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use clara_gpu_worker::{
    devices::Devices,
    model::Precision,
    model_cache::ModelCache,
    serve::{self, ServeConfig},
};

use crate::{client::AdapterDocument, session::Session};

/// Serves a base model and adapters over HTTP until told to end.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  clara serve --base-model model.gguf --adapter verwaltungsrecht-lora-v1.0.0\n  clara serve --base-model model.gguf --adapter law=./adapters/law --listen 127.0.0.1:8000\n\nClients choose an adapter by `model`. There is no access control: open it only to a network that you trust."
)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) models: ModelArgs,
    /// Name of the base model for clients [default: the folder's or file's own name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Adapters in this folder may be loaded and unloaded by calls while the server runs, as a rollout does [default: none may]
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter_folder: Option<PathBuf>,
    /// Address and port [default: 127.0.0.1:7402]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Longest answer in tokens where a request sets no limit
    #[arg(long, default_value_t = 512, value_name = "TOKENS")]
    pub(crate) default_max_tokens: u32,
}

/// A base model and adapters.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    /// Base model: a Hugging Face folder or a GGUF file [default: that of the first registered adapter]
    #[arg(long, value_name = "PATH", env = "CLARA_BASE_MODEL")]
    pub(crate) base_model: Option<PathBuf>,
    /// How the base model is held: stored, full or nf4 [default: nf4 for registered adapters of QLoRA, else stored]
    #[arg(long, value_name = "PRECISION")]
    pub(crate) precision: Option<Precision>,
    /// A registered version (its id, or FAMILY@champion), or NAME=DIR for a PEFT folder; may be repeated
    #[arg(long = "adapter", value_name = "ID|NAME=DIR")]
    pub(crate) adapters: Vec<String>,
}

/// What the flags came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Models {
    pub(crate) base_model: PathBuf,
    pub(crate) precision: Precision,
    /// Names for clients and PEFT folders.
    pub(crate) adapters: Vec<(String, PathBuf)>,
}

pub(crate) async fn run(session: &Session, args: &ServeArgs) -> Result<()> {
    let models = resolve(session, &args.models).await?;
    let config = ServeConfig {
        name: args.name.clone(),
        precision: models.precision,
        adapters: models.adapters.clone(),
        adapter_folder: args.adapter_folder.clone(),
        listen: args.listen.unwrap_or(session.settings.serve.openai_address),
        default_max_tokens: args.default_max_tokens,
        ..ServeConfig::new(models.base_model)
    };
    let server =
        serve::start(config, &ModelCache::on(Devices::open(session.settings.worker.device)?)).await?;
    let names: Vec<_> = models.adapters.iter().map(|(name, _)| name.as_str()).collect();
    let adapters = if names.is_empty() { String::new() } else { format!(" with {}", names.join(", ")) };
    session.output.note(format!("serving {}{adapters} at {}", server.base_name(), server.base_url()));
    session.interrupt.cancelled().await;
    server.stop().await;
    Ok(())
}

/// Finds base model and adapters; registered versions are copied from the store and verified.
pub(crate) async fn resolve(session: &Session, args: &ModelArgs) -> Result<Models> {
    let mut adapters = Vec::new();
    let mut base_model = args.base_model.clone();
    let mut trained_on: Option<Precision> = None;
    for adapter in &args.adapters {
        match adapter.split_once('=') {
            Some((name, folder)) => adapters.push((name.to_owned(), PathBuf::from(folder))),
            None if Path::new(adapter).join("adapter_config.json").is_file() => {
                let folder = PathBuf::from(adapter);
                let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
                adapters.push((name.unwrap_or_else(|| adapter.clone()), folder));
            }
            None => {
                let Registered { name, folder, base, precision } = registered(session, adapter).await?;
                base_model = base_model.or(base);
                let held = args.precision.or(trained_on).unwrap_or(precision);
                ensure!(
                    held.has_weights_of(precision),
                    "{name} was trained on a base model held as {precision}, but here it is held as {held}; use it alone, \
                     without --precision"
                );
                trained_on = Some(precision);
                adapters.push((name, folder));
            }
        }
    }
    let base_model = base_model.context(
        "the base model is missing; give --base-model PATH or the environment variable CLARA_BASE_MODEL",
    )?;
    let precision = args.precision.or(trained_on).unwrap_or(Precision::Stored);
    Ok(Models { base_model, precision, adapters })
}

/// A registered version.
struct Registered {
    name: String,
    /// A verified copy.
    folder: PathBuf,
    /// The base model that it was trained on, where it is here.
    base: Option<PathBuf>,
    precision: Precision,
}

async fn registered(session: &Session, adapter: &str) -> Result<Registered> {
    let connection = session.connect().await?;
    let AdapterDocument { version, .. } = connection.client.adapter(adapter).await?;
    let lineage = version.lineage.as_ref().with_context(|| {
        format!("the files of {} are not in this registry; give them as NAME=DIR", version.adapter_id)
    })?;
    let folder = session.adapter_folder(&version.adapter_id);
    session.artifacts()?.fetch(&lineage.adapter, &folder).await?;
    let job = connection.client.job(lineage.job.as_str()).await?;
    let base = PathBuf::from(&job.spec.base_model);
    let base = base.exists().then_some(base);
    Ok(Registered {
        name: version.adapter_id,
        folder,
        base,
        precision: Precision::to_answer(job.spec.method),
    })
}
