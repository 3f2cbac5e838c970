//! Reads the remote sources of a job into files of this machine, and goes on where an earlier attempt stopped.

mod pace;
mod server;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use async_trait::async_trait;
use clara_lifecycle::{digest::Digest, id::Domain, shown::shown, spec::IngestOptions};
use clara_runtime::stop::{StopReason, StopSignal};
use serde_json::Value;

use super::{
    Collected, FetchError, Place, Reached, Remote, RemoteRequest, Saved, SavedSource, Servers, Waiting,
    objects, open, settings_of,
};
use crate::error::IngestError;

use server::ServerPass;

/// What is fetched, and where to.
#[derive(Debug, Clone, Copy)]
pub struct CollectRequest<'a> {
    /// Sources, query and limits.
    pub options: &'a IngestOptions,
    /// The job's domain.
    pub domain: &'a Domain,
    /// The servers that this worker knows.
    pub servers: &'a Servers,
    /// For each source where the newest dataset of the family left off; empty for everything.
    pub since: &'a BTreeMap<String, Value>,
    /// Folder of everything fetched; what an earlier pass left there is gone on with.
    pub folder: &'a Path,
    /// A checkpoint comes after so many documents; with many of them less often.
    pub checkpoint_every: u64,
    /// Longest time without a new byte of a URL; servers have their own.
    pub patience: Duration,
}

/// So many documents are between two checkpoints, unless said otherwise.
pub const CHECKPOINT_EVERY: u64 = 1000;

/// How far the fetching of one source has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchProgress<'a> {
    /// The source, without secrets.
    pub source: &'a str,
    /// Documents of a server, or files of a URL, that were fetched.
    pub fetched: u64,
    /// `documents` or `files`.
    pub unit: &'static str,
    /// How many there are, where known.
    pub total: Option<u64>,
    /// Bytes that were written for it.
    pub bytes: u64,
}

/// Watches the fetching and keeps its checkpoints.
#[async_trait]
pub trait CollectObserver: Send + Sync {
    /// Something was fetched.
    fn fetched(&self, progress: &FetchProgress<'_>);

    /// A source is waited for, within its patience.
    fn waiting(&self, _: &Waiting<'_>) {}

    /// `saved` is safe in the folder; whoever wants to go on elsewhere copies it.
    ///
    /// # Errors
    /// [`IngestError`] ends the fetching.
    async fn saved(&mut self, saved: &Saved) -> Result<(), IngestError>;
}

/// Opens servers; [`open`](super::open()) in earnest.
pub trait OpenRemote: Send + Sync + std::fmt::Debug {
    /// The server of a request, to be read on from where an earlier pass left off.
    ///
    /// # Errors
    /// [`FetchError`] when it cannot be used.
    fn open(&self, request: RemoteRequest, reached: Option<Reached>) -> Result<Box<dyn Remote>, FetchError>;
}

/// Opens servers by their kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenByKind;

impl OpenRemote for OpenByKind {
    fn open(&self, request: RemoteRequest, reached: Option<Reached>) -> Result<Box<dyn Remote>, FetchError> {
        open(request, reached)
    }
}

/// Fetches every remote source of the request. Sources that lie on this machine are left alone.
///
/// Cancellation-safe: what was saved is gone on with by the next call for the same folder. Told to stop it ends within a second;
/// at [`StopReason::Drain`] everything that came is saved before.
///
/// # Errors
/// [`IngestError`]; what came until then is saved, unless it could not be written.
pub async fn collect(
    request: &CollectRequest<'_>,
    remotes: &dyn OpenRemote,
    observer: &mut dyn CollectObserver,
    stop: &StopSignal,
) -> Result<Collected, IngestError> {
    for source in &request.options.sources {
        match Place::of(source) {
            Place::Server(name) => settings_of(request.servers, name).map(drop)?,
            Place::Url(url) => objects::check_url(url)?,
            Place::Local(_) => {}
        }
    }
    let mut saved = Saved::read(request.folder)?;
    let mut sources = Vec::new();
    let mut begun = BTreeSet::new();
    for source in &request.options.sources {
        if !Place::of(source).is_remote() || !begun.insert(source) {
            continue;
        }
        if let Some(reason) = stop.reason() {
            return Err(IngestError::Stopped(reason));
        }
        fs::create_dir_all(request.folder).map_err(IngestError::write(request.folder))?;
        let mut pass = Pass { request, saved: &mut saved, observer, stop };
        let done = match Place::of(source) {
            Place::Server(name) => pass.server(name, remotes).await?,
            Place::Url(url) => objects::collect(&mut pass, url).await?,
            Place::Local(_) => continue,
        };
        sources.push(done);
    }
    Ok(Collected::new(request.folder, sources))
}

/// One call of [`collect`], as its sources see it.
pub(super) struct Pass<'a, 'b> {
    pub(super) request: &'b CollectRequest<'a>,
    pub(super) saved: &'b mut Saved,
    pub(super) observer: &'b mut dyn CollectObserver,
    pub(super) stop: &'b StopSignal,
}

impl Pass<'_, '_> {
    /// What was saved of a source for this request, or a new beginning.
    ///
    /// # Errors
    /// [`IngestError::Write`] when its files cannot be cut to what is safe.
    pub(super) fn begun(&self, source: &str, request: Digest) -> Result<SavedSource, IngestError> {
        let saved = match self.saved.of(source, &request) {
            Some(saved) if saved.is_there(self.request.folder) => saved.clone(),
            Some(_) => {
                tracing::warn!(
                    "what was fetched of {} before is incomplete; it is fetched anew",
                    shown(source)
                );
                return Ok(SavedSource::new(source, request));
            }
            None => return Ok(SavedSource::new(source, request)),
        };
        saved.cut(self.request.folder)?;
        let end = if saved.finished { "nothing is left to fetch" } else { "the rest follows" };
        tracing::info!(fetched = saved.fetched, "{} was fetched before; {end}", shown(source));
        Ok(saved)
    }

    /// Saves how far a source has come, here and by the observer.
    pub(super) async fn save(&mut self, source: &SavedSource) -> Result<(), IngestError> {
        self.saved.put(source.clone());
        self.saved.write(self.request.folder)?;
        self.observer.saved(self.saved).await
    }

    /// After a cancel or a fence nothing is saved any more.
    pub(super) fn may_save(&self) -> bool {
        !matches!(self.stop.reason(), Some(StopReason::Cancel | StopReason::Fenced))
    }

    async fn server(&mut self, source: &str, remotes: &dyn OpenRemote) -> Result<SavedSource, IngestError> {
        let settings = settings_of(self.request.servers, source)?.clone();
        let options = self.request.options;
        let since = self.request.since.get(source).filter(|_| options.since_last).cloned();
        let request = RemoteRequest {
            source: source.to_owned(),
            settings,
            domain: self.request.domain.clone(),
            query: options.query.clone(),
            top_k: options.top_k,
            since,
        };
        let saved = self.begun(source, request.digest())?;
        if saved.finished {
            return Ok(saved);
        }
        let patience = request.settings.patience.0;
        let remote = remotes.open(request, saved.reached())?;
        ServerPass::new(self, saved, patience)?.run(remote).await
    }
}

impl RemoteRequest {
    /// Digest of everything that shapes the answer; how patiently and as whom it is asked does not.
    fn digest(&self) -> Digest {
        let Self { source, settings, domain, query, top_k, since } = self;
        let mut asked = settings.clone();
        let defaults = clara_runtime::config::RemoteSettings::default();
        asked.token_env = None;
        asked.user = None;
        (asked.ca_certificate, asked.client_certificate, asked.client_key) = (None, None, None);
        (asked.page, asked.parallel) = (defaults.page, defaults.parallel);
        (asked.timeout, asked.patience) = (defaults.timeout, defaults.patience);
        let url = settings.url.as_ref().map_or("", |url| url.reveal());
        let asked = serde_json::json!([source, asked, domain, query, top_k, since]);
        Digest::of_parts([("url", url.as_bytes()), ("asked", asked.to_string().as_bytes())])
    }
}
