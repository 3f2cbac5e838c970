//! An OpenAI-compatible server over one base model and its adapters.

mod adapters;
mod error;
mod fields;
mod request;
mod response;
mod routes;
mod state;
mod stream;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clara_runtime::task::Tasks;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    model::{ModelError, Precision},
    model_cache::ModelCache,
    peft::PeftError,
    text::{TextEngine, TextError},
};
use state::Service;

/// How long running answers may take after [`ServeHandle::stop`].
const GRACE: Duration = Duration::from_secs(10);

/// What is served, and where.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Hugging Face folder or GGUF file of the base model.
    pub base_model: PathBuf,
    /// How it is held; adapters of QLoRA want four bits. Default f32.
    pub precision: Precision,
    /// Name of the base model for callers; without it the folder's or file's own name.
    pub name: Option<String>,
    /// Adapters: their names for callers, and their PEFT folders.
    pub adapters: Vec<(String, PathBuf)>,
    /// Adapters in this folder may be loaded and unloaded by calls while the server runs; without one there are no such calls.
    pub adapter_folder: Option<PathBuf>,
    /// Address and port; port 0 takes a free one. Default `127.0.0.1:0`: only this machine can reach it.
    pub listen: SocketAddr,
    /// Sequences that are continued together; default 16.
    pub sequences: usize,
    /// Memory for keys and values of all open sequences, in bytes; default 1 GiB. One sequence alone always has room.
    pub cache_bytes: usize,
    /// Longest answer in tokens where a request sets no limit; default 512.
    pub default_max_tokens: u32,
}

impl ServeConfig {
    /// Serves `base_model` alone on a free port of this machine.
    pub fn new(base_model: PathBuf) -> Self {
        Self {
            base_model,
            precision: Precision::Stored,
            name: None,
            adapters: Vec::new(),
            adapter_folder: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            sequences: 16,
            cache_bytes: 1 << 30,
            default_max_tokens: 512,
        }
    }
}

/// Why the server cannot start or take an adapter.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The base model cannot be loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An adapter cannot be read.
    #[error("cannot serve adapter {name}: {source}")]
    Adapter {
        /// Its name for callers.
        name: String,
        /// What is wrong with the folder.
        source: PeftError,
    },
    /// An adapter cannot be used, or text cannot be generated.
    #[error("cannot serve {name}: {source}")]
    Text {
        /// The adapter or base model.
        name: String,
        /// What failed.
        source: TextError,
    },
    /// A name that the base model has already.
    #[error("{name} is the base model's name; give the adapter another one")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The folder of adapters cannot be used.
    #[error("cannot load adapters from {folder}: {source}; give a folder that is there and may be read")]
    AdapterFolder {
        /// As given.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The address cannot be used.
    #[error("cannot listen on {address}: {source}; choose another --listen or stop what uses it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Loading was cut off.
    #[error("loading was cut off: {reason}")]
    CutOff {
        /// What happened.
        reason: String,
    },
}

/// A running server; when it is dropped, the server takes no more requests and ends.
#[derive(Debug)]
pub struct ServeHandle {
    address: SocketAddr,
    service: Arc<Service>,
    tasks: Tasks,
    server: JoinHandle<()>,
    _ends_when_dropped: DropGuard,
}

/// Loads the models, binds the address and starts to answer.
///
/// # Errors
/// [`ServeError`] names the model, adapter or address that cannot be used; nothing runs then.
pub async fn start(config: ServeConfig, cache: &ModelCache) -> Result<ServeHandle, ServeError> {
    let adapter_folder = match &config.adapter_folder {
        Some(folder) => Some(
            folder
                .canonicalize()
                .map_err(|source| ServeError::AdapterFolder { folder: folder.clone(), source })?,
        ),
        None => None,
    };
    let address = config.listen;
    let listen_error = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let service = Arc::new(load(&config, cache).await?.loading_from(adapter_folder));
    for (name, folder) in &config.adapters {
        service.add_adapter(name, folder).await?;
    }
    let shutdown = CancellationToken::new();
    let tasks = Tasks::new(shutdown.clone());
    let router = routes::router(Arc::clone(&service));
    let told = shutdown.clone().cancelled_owned();
    let server = tasks.spawn("serve", async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(told).await {
            tracing::error!(%error, "the server ended");
        }
    });
    tracing::info!(%address, base_model = service.base_name(), adapters = config.adapters.len(), "serving");
    Ok(ServeHandle { address, service, tasks, server, _ends_when_dropped: shutdown.drop_guard() })
}

async fn load(config: &ServeConfig, cache: &ModelCache) -> Result<Service, ServeError> {
    let (config, cache) = (config.clone(), cache.clone());
    let loading = tokio::task::spawn_blocking(move || {
        let model = cache.load(&config.base_model, config.precision)?;
        let name = config.name.unwrap_or_else(|| model.base.name.clone());
        let engine = TextEngine::for_model(&model, model.limits(config.sequences, config.cache_bytes))
            .map_err(|source| ServeError::Text { name: name.clone(), source })?;
        Ok(Service::new(name, model, engine, config.default_max_tokens))
    });
    loading.await.map_err(|error| ServeError::CutOff { reason: error.to_string() })?
}

impl ServeHandle {
    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Base URL for OpenAI clients, e.g. `http://127.0.0.1:8000/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The base model's name for callers.
    pub fn base_name(&self) -> &str {
        self.service.base_name()
    }

    /// Reads a PEFT folder and serves it under `name`; an adapter of that name is replaced unless it is answering.
    ///
    /// # Errors
    /// [`ServeError::NameTaken`], [`ServeError::Adapter`] or [`ServeError::Text`]; what was served stays.
    pub async fn add_adapter(&self, name: &str, folder: &Path) -> Result<(), ServeError> {
        self.service.add_adapter(name, folder).await
    }

    /// Stops serving an adapter.
    ///
    /// # Errors
    /// [`ServeError::Text`] when it is unknown or answering.
    pub async fn remove_adapter(&self, name: &str) -> Result<(), ServeError> {
        self.service.remove_adapter(name).await
    }

    /// Takes no more requests, lets running answers end for up to ten seconds, then ends the server.
    pub async fn stop(self) {
        if !self.tasks.finish(GRACE).await {
            tracing::warn!("answers were still running and were cut off");
            self.server.abort();
        }
    }
}

#[cfg(test)]
mod tests;
