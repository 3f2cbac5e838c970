//! Files behind URLs: listed, downloaded with repetitions, and gone on with file by file.

mod bucket;
mod partial;
#[cfg(test)]
mod tests;
mod web;

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::{Duration, Instant},
};

use clara_lifecycle::{counted::counted, digest::Digest, shown::shown};
use futures::{FutureExt as _, StreamExt as _, stream::FuturesOrdered};
use reqwest::Url;
use serde_json::json;

use super::{
    FetchError, SavedFile, SavedSource,
    collect::{FetchProgress, Pass},
    patience::Patience,
    waiting,
};
use crate::{
    error::IngestError,
    source::{FileKind, KNOWN_KINDS},
};

use bucket::Bucket;
use partial::Partial;
use web::Web;

/// Longest time without a new byte, repetitions included, after which the stage fails, unless said otherwise.
pub const URL_PATIENCE: Duration = Duration::from_mins(10);
/// Downloads at the same time.
const PARALLEL: usize = 8;
/// A checkpoint comes after so many bytes at the latest.
const SAVE_AFTER_BYTES: u64 = 64 << 20;
/// And after so long.
const SAVE_AFTER: Duration = Duration::from_secs(30);

/// A file on the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RemoteFile {
    /// Path below the source, with `/` between parts.
    name: String,
    /// Path on the other side.
    location: String,
    /// Size in bytes, where known.
    size: Option<u64>,
    /// What tells one content from another, such as an `ETag`.
    entity: Option<String>,
}

/// Why a try did not succeed.
#[derive(Debug)]
enum Failed {
    /// A repetition may help, after the pause that the other side asks for.
    Again { problem: String, pause: Option<Duration> },
    /// None will.
    Final(String),
    /// The file of this name is another one now; only the whole stage can be tried again.
    Changed(String),
    /// The disk of this machine.
    Disk(IngestError),
}

/// The other side of a URL.
#[derive(Debug)]
enum There {
    Web(Web),
    Bucket(Bucket),
}

/// Refuses a URL that nothing can be fetched from; nothing is asked of anybody.
///
/// # Errors
/// [`FetchError::Refused`] with what to do.
pub fn check_url(url: &str) -> Result<(), FetchError> {
    parsed(url).map(drop)
}

/// What tells one URL from another, whatever of both is shown.
pub(super) fn request(url: &str) -> Digest {
    Digest::of(url.as_bytes())
}

/// Fetches all files of a URL.
///
/// # Errors
/// [`IngestError`]; files that were saved are not fetched again.
pub(super) async fn collect(pass: &mut Pass<'_, '_>, url: &str) -> Result<SavedSource, IngestError> {
    let source = pass.begun(url, request(url))?;
    if source.finished {
        return Ok(source);
    }
    let remote = Remote::new(url, pass.request.patience, There::open(url)?);
    finish(pass, &remote, source).await
}

async fn finish(
    pass: &mut Pass<'_, '_>,
    remote: &Remote,
    mut source: SavedSource,
) -> Result<SavedSource, IngestError> {
    let mut stop = pass.stop.clone();
    let ended = tokio::select! {
        biased;
        reason = stop.stopped() => Err(IngestError::Stopped(reason)),
        ended = waiting::heard(fetch(pass, remote, &mut source)) => ended,
    };
    let is_new = pass.saved.of(&remote.shown, &source.request).is_none_or(|saved| *saved != source);
    match ended {
        Ok(()) => {
            source.files.sort_by(|a, b| a.path.cmp(&b.path));
            source.state = state(&source);
            source.finished = true;
            pass.save(&source).await?;
            Ok(source)
        }
        Err(error @ IngestError::Write { .. }) => Err(error),
        Err(error) => {
            if is_new && pass.may_save() {
                pass.save(&source).await?;
            }
            Err(error)
        }
    }
}

async fn fetch(
    pass: &mut Pass<'_, '_>,
    remote: &Remote,
    source: &mut SavedSource,
) -> Result<(), IngestError> {
    let folder = source.folder();
    let asked = (remote.shown.as_str(), waiting::NO_ANSWER);
    let mut files = waiting::watched(asked, remote.list(), |waiting| pass.observer.waiting(waiting)).await?;
    source.skipped =
        files.iter().filter(|file| !is_wanted(&file.name)).map(|file| file.name.clone()).collect();
    files.retain(|file| is_wanted(&file.name));
    if files.is_empty() {
        return Err(remote.refused(nothing_to_read(&source.skipped)));
    }
    let total = files.len() as u64;
    keep_unchanged(source, &mut files, &folder);
    let below = pass.request.folder.join(&folder);
    let (mut waiting, mut running) = (files.iter(), FuturesOrdered::new());
    let (mut unsaved, mut saved_at) = (0, Instant::now());
    let mut fetched_bytes: u64 = source.files.iter().map(|file| file.bytes).sum();
    loop {
        while running.len() < PARALLEL
            && let Some(file) = waiting.next()
        {
            running.push_back(remote.download(file, &below).boxed());
        }
        let asked = (remote.shown.as_str(), "the next file is not whole yet");
        let next = waiting::watched(asked, running.next(), |waiting| pass.observer.waiting(waiting));
        let Some(downloaded) = next.await else { return Ok(()) };
        let SavedFile { path, bytes, entity } = downloaded?;
        source.files.push(SavedFile { path: format!("{folder}/{path}"), bytes, entity });
        source.fetched += 1;
        unsaved += bytes;
        fetched_bytes += bytes;
        pass.observer.fetched(&FetchProgress {
            source: &remote.shown,
            fetched: source.fetched,
            unit: "files",
            total: Some(total),
            bytes: fetched_bytes,
        });
        if unsaved >= SAVE_AFTER_BYTES || saved_at.elapsed() >= SAVE_AFTER {
            pass.save(source).await?;
            (unsaved, saved_at) = (0, Instant::now());
        }
    }
}

/// Keeps of what was fetched before the files that are still the same there, and leaves the others in `files`.
fn keep_unchanged(source: &mut SavedSource, files: &mut Vec<RemoteFile>, folder: &str) {
    let place = |file: &RemoteFile| format!("{folder}/{}", file.name);
    let there: HashMap<String, Option<String>> =
        files.iter().map(|file| (place(file), file.entity.clone())).collect();
    source.files.retain(|kept| kept.entity.is_some() && there.get(&kept.path) == Some(&kept.entity));
    source.fetched = source.files.len() as u64;
    let kept: HashSet<&str> = source.files.iter().map(|file| file.path.as_str()).collect();
    files.retain(|file| !kept.contains(place(file).as_str()));
}

/// A URL that is fetched.
struct Remote {
    /// Without secrets.
    shown: String,
    patience: Duration,
    there: There,
}

impl Remote {
    fn new(url: &str, patience: Duration, there: There) -> Self {
        Self { shown: shown(url).into_owned(), patience, there }
    }

    /// Downloads one file to its place below `folder`, whole or not at all.
    async fn download(&self, file: &RemoteFile, folder: &Path) -> Result<SavedFile, IngestError> {
        let mut partial = Partial::create(&folder.join(&file.name))?;
        let (mut patience, mut had) = (Patience::new(self.patience), 0);
        loop {
            let failed = match self.there.read_on(file, &mut partial).await {
                Ok(()) => break,
                Err(failed) => failed,
            };
            if partial.bytes() > had {
                patience.news();
                had = partial.bytes();
            }
            self.rest(failed, &mut patience).await?;
        }
        let entity = partial.entity().map(str::to_owned).or_else(|| file.entity.clone());
        let bytes = partial.finish()?;
        Ok(SavedFile { path: file.name.clone(), bytes, entity })
    }

    async fn list(&self) -> Result<Vec<RemoteFile>, IngestError> {
        let mut patience = Patience::new(self.patience);
        loop {
            match self.there.list(&self.shown).await {
                Ok(files) => return Ok(files),
                Err(failed) => self.rest(failed, &mut patience).await?,
            }
        }
    }

    /// Pauses before a repetition.
    async fn rest(&self, failed: Failed, patience: &mut Patience) -> Result<(), IngestError> {
        let (problem, asked) = match failed {
            Failed::Again { problem, pause } => (problem, pause),
            Failed::Final(problem) => return Err(self.refused(problem)),
            Failed::Changed(name) => {
                return Err(IngestError::SourcesChanged { sources: format!("{name} of {}", self.shown) });
            }
            Failed::Disk(error) => return Err(error),
        };
        let Some(wait) = patience.wait(asked) else {
            let problem = format!("{problem}; nothing new came for {:?}", self.patience);
            return Err(FetchError::Unavailable { source_name: self.shown.clone(), problem }.into());
        };
        tracing::debug!(pause_ms = wait.as_millis(), "{} is asked again: {problem}", self.shown);
        waiting::asked_again(&problem, patience.ends_at());
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn refused(&self, problem: String) -> IngestError {
        FetchError::Refused { source_name: self.shown.clone(), problem }.into()
    }
}

impl There {
    fn open(url: &str) -> Result<Self, FetchError> {
        let refuse = |problem: String| FetchError::Refused { source_name: shown(url).into_owned(), problem };
        let parsed = parsed(url)?;
        match parsed.scheme() {
            "http" | "https" => Web::new(parsed).map(Self::Web).map_err(refuse),
            // This library has its own variables, which people know.
            _ => Bucket::new(&parsed, std::env::vars()).map(Self::Bucket).map_err(refuse),
        }
    }

    /// The files there, by name; `shown` names the source in messages.
    async fn list(&self, shown: &str) -> Result<Vec<RemoteFile>, Failed> {
        match self {
            Self::Web(web) => Ok(vec![web.look().await?]),
            Self::Bucket(bucket) => bucket.list(shown).await,
        }
    }

    /// Reads a file on from where `partial` ends, to its end.
    async fn read_on(&self, file: &RemoteFile, partial: &mut Partial) -> Result<(), Failed> {
        match self {
            Self::Web(web) => web.read_on(file, partial).await,
            Self::Bucket(bucket) => bucket.read_on(file, partial).await,
        }
    }
}

fn parsed(url: &str) -> Result<Url, FetchError> {
    let refuse = |problem: String| FetchError::Refused { source_name: shown(url).into_owned(), problem };
    let parsed = Url::parse(url).map_err(|error| refuse(format!("it is no URL ({error}); correct it")))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(refuse("it holds a user or a password, which are not sent; leave them out".to_owned()));
    }
    match parsed.scheme() {
        "http" | "https" | "s3" | "s3a" | "gs" => Ok(parsed),
        other => Err(refuse(format!("{other}:// is not known; expected http, https, s3 or gs"))),
    }
}

/// Whether a file is of a kind that can be read; hidden ones are passed over as in folders.
fn is_wanted(name: &str) -> bool {
    !name.split('/').any(|part| part.starts_with('.')) && FileKind::of(Path::new(name)).is_some()
}

fn nothing_to_read(skipped: &[String]) -> String {
    match skipped.first() {
        None => "there is nothing: no file begins with it; correct it".to_owned(),
        Some(first) => format!(
            "none of what it holds ({}) is of a kind that can be read; the first is {first}; expected the kinds {KNOWN_KINDS}",
            counted(skipped.len(), "file")
        ),
    }
}

/// What a later pass compares; nothing where a file cannot be told from a later one.
fn state(source: &SavedSource) -> Option<serde_json::Value> {
    let entities: Option<Vec<(&str, &[u8])>> = source
        .files
        .iter()
        .map(|file| Some((file.path.as_str(), file.entity.as_deref()?.as_bytes())))
        .collect();
    entities.map(|entities| json!({ "files": Digest::of_parts(entities) }))
}
