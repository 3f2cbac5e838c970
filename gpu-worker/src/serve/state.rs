//! What all requests share: the engine, the names of base model and adapters.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use clara_runtime::clock::{Clock, SystemClock};
use parking_lot::RwLock;

use super::ServeError;
use crate::{model_cache::SharedModel, peft, text::TextEngine};

/// What all requests share.
#[derive(Debug)]
pub(super) struct Service {
    base_name: String,
    pub(super) model: Arc<SharedModel>,
    pub(super) engine: TextEngine,
    pub(super) default_max_tokens: u32,
    adapters: RwLock<BTreeMap<String, ServedAdapter>>,
    /// Below it lie adapters that may be loaded while the server runs.
    adapter_folder: Option<PathBuf>,
    /// Held while an adapter is loaded or unloaded by a call.
    pub(super) changing: tokio::sync::Mutex<()>,
    started_at: i64,
    answers: AtomicU64,
    clock: SystemClock,
}

/// An adapter as `/v1/models` lists it.
#[derive(Debug, Clone)]
pub(super) struct ServedAdapter {
    pub(super) folder: PathBuf,
    /// Seconds since 1970.
    pub(super) added_at: i64,
}

impl Service {
    pub(super) fn new(
        base_name: String,
        model: Arc<SharedModel>,
        engine: TextEngine,
        default_max_tokens: u32,
    ) -> Self {
        let clock = SystemClock;
        Self {
            base_name,
            model,
            engine,
            default_max_tokens,
            adapters: RwLock::default(),
            adapter_folder: None,
            changing: tokio::sync::Mutex::default(),
            started_at: clock.now().0 / 1_000,
            answers: AtomicU64::new(0),
            clock,
        }
    }

    /// Lets adapters below `folder` be loaded while the server runs.
    pub(super) fn loading_from(self, folder: Option<PathBuf>) -> Self {
        Self { adapter_folder: folder, ..self }
    }

    /// Whether adapters can be loaded while the server runs.
    pub(super) fn loads(&self) -> bool {
        self.adapter_folder.is_some()
    }

    /// The folder behind `path`, if it lies where adapters may be loaded from; else what is wrong.
    pub(super) fn allowed(&self, path: &Path) -> Result<PathBuf, String> {
        let root = self.adapter_folder.as_deref().ok_or("this server loads no adapters while it runs")?;
        let folder = root
            .join(path)
            .canonicalize()
            .map_err(|error| format!("cannot read the adapter in {}: {error}", path.display()))?;
        if folder.starts_with(root) {
            return Ok(folder);
        }
        Err(format!("{} does not lie in {}, where adapters are loaded from", path.display(), root.display()))
    }

    pub(super) fn base_name(&self) -> &str {
        &self.base_name
    }

    /// Seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.clock.now().0 / 1_000
    }

    pub(super) fn started_at(&self) -> i64 {
        self.started_at
    }

    /// Number of the next answer, from 0.
    pub(super) fn next_answer(&self) -> u64 {
        self.answers.fetch_add(1, Ordering::Relaxed)
    }

    /// The adapters by name.
    pub(super) fn adapters(&self) -> BTreeMap<String, ServedAdapter> {
        self.adapters.read().clone()
    }

    /// The adapter that `model` names: `Some(None)` for the base model, `None` for an unknown name.
    #[expect(clippy::option_option, reason = "unknown and none at all are different answers")]
    pub(super) fn adapter(&self, model: &str) -> Option<Option<String>> {
        if model == self.base_name {
            return Some(None);
        }
        self.adapters.read().contains_key(model).then(|| Some(model.to_owned()))
    }

    pub(super) async fn add_adapter(&self, name: &str, folder: &Path) -> Result<(), ServeError> {
        if name == self.base_name {
            return Err(ServeError::NameTaken { name: name.to_owned() });
        }
        let (path, model) = (folder.to_owned(), Arc::clone(&self.model));
        let reading = tokio::task::spawn_blocking(move || peft::read(&path, &model.base.config));
        let weights = reading
            .await
            .map_err(|error| ServeError::CutOff { reason: error.to_string() })?
            .map_err(|source| ServeError::Adapter { name: name.to_owned(), source })?;
        let failed = |source| ServeError::Text { name: name.to_owned(), source };
        self.engine.add_adapter(name, weights).await.map_err(failed)?;
        let served = ServedAdapter { folder: folder.to_owned(), added_at: self.now() };
        self.adapters.write().insert(name.to_owned(), served);
        Ok(())
    }

    pub(super) async fn remove_adapter(&self, name: &str) -> Result<(), ServeError> {
        let failed = |source| ServeError::Text { name: name.to_owned(), source };
        self.engine.remove_adapter(name).await.map_err(failed)?;
        self.adapters.write().remove(name);
        Ok(())
    }
}
