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

use clara_lifecycle::digest::Digest;
use futures::{FutureExt as _, StreamExt as _, stream::FuturesOrdered};
use reqwest::Url;
use serde_json::json;

use super::{
    FetchError, SavedFile, SavedSource,
    collect::{FetchProgress, Pass},
    waiting,
};
use crate::{error::IngestError, source::FileKind};

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
/// First and longest pause before a repetition.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));

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

/// Fetches all files of a URL.
///
/// # Errors
/// [`IngestError`]; files that were saved are not fetched again.
pub(super) async fn collect(pass: &mut Pass<'_, '_>, url: &str) -> Result<SavedSource, IngestError> {
    let source = pass.begun(url, Digest::of(url.as_bytes()))?;
    if source.finished {
        return Ok(source);
    }
    let remote = Remote { url, patience: pass.request.patience, there: There::open(url)? };
    finish(pass, &remote, source).await
}

async fn finish(
    pass: &mut Pass<'_, '_>,
    remote: &Remote<'_>,
    mut source: SavedSource,
) -> Result<SavedSource, IngestError> {
    let mut stop = pass.stop.clone();
    let ended = tokio::select! {
        biased;
        reason = stop.stopped() => Err(IngestError::Stopped(reason)),
        ended = waiting::heard(fetch(pass, remote, &mut source)) => ended,
    };
    let is_new = pass.saved.of(remote.url, &source.request).is_none_or(|saved| *saved != source);
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
    remote: &Remote<'_>,
    source: &mut SavedSource,
) -> Result<(), IngestError> {
    let folder = source.folder();
    let asked = (remote.url, waiting::NO_ANSWER);
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
        let asked = (remote.url, "the next file is not whole yet");
        let next = waiting::watched(asked, running.next(), |waiting| pass.observer.waiting(waiting));
        let Some(downloaded) = next.await else { return Ok(()) };
        let SavedFile { path, bytes, entity } = downloaded?;
        source.files.push(SavedFile { path: format!("{folder}/{path}"), bytes, entity });
        source.fetched += 1;
        unsaved += bytes;
        fetched_bytes += bytes;
        pass.observer.fetched(&FetchProgress {
            source: remote.url,
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
struct Remote<'a> {
    url: &'a str,
    patience: Duration,
    there: There,
}

impl Remote<'_> {
    /// Downloads one file to its place below `folder`, whole or not at all.
    async fn download(&self, file: &RemoteFile, folder: &Path) -> Result<SavedFile, IngestError> {
        let mut partial = Partial::create(&folder.join(&file.name))?;
        let (mut pause, mut newest, mut had) = (PAUSES.0, Instant::now(), 0);
        loop {
            let failed = match self.there.read_on(file, &mut partial).await {
                Ok(()) => break,
                Err(failed) => failed,
            };
            if partial.bytes() > had {
                (pause, newest, had) = (PAUSES.0, Instant::now(), partial.bytes());
            }
            self.rest(failed, newest, &mut pause).await?;
        }
        let entity = partial.entity().map(str::to_owned).or_else(|| file.entity.clone());
        let bytes = partial.finish()?;
        Ok(SavedFile { path: file.name.clone(), bytes, entity })
    }

    async fn list(&self) -> Result<Vec<RemoteFile>, IngestError> {
        let (mut pause, began) = (PAUSES.0, Instant::now());
        loop {
            match self.there.list(self.url).await {
                Ok(files) => return Ok(files),
                Err(failed) => self.rest(failed, began, &mut pause).await?,
            }
        }
    }

    /// Pauses before a repetition; `pause` doubles.
    async fn rest(&self, failed: Failed, newest: Instant, pause: &mut Duration) -> Result<(), IngestError> {
        let (problem, asked) = match failed {
            Failed::Again { problem, pause } => (problem, pause),
            Failed::Final(problem) => return Err(self.refused(problem)),
            Failed::Changed(name) => {
                return Err(IngestError::SourcesChanged { sources: format!("{name} of {}", self.url) });
            }
            Failed::Disk(error) => return Err(error),
        };
        let wait = asked.unwrap_or_default().max(*pause);
        if newest.elapsed() + wait > self.patience {
            let problem = format!("{problem}; nothing new came for {:?}", self.patience);
            return Err(FetchError::Unavailable { source_name: self.url.to_owned(), problem }.into());
        }
        tracing::debug!(pause_ms = wait.as_millis(), "{} is asked again: {problem}", self.url);
        waiting::asked_again(&problem, (newest + self.patience).into());
        tokio::time::sleep(wait).await;
        *pause = (*pause * 2).min(PAUSES.1);
        Ok(())
    }

    fn refused(&self, problem: String) -> IngestError {
        FetchError::Refused { source_name: self.url.to_owned(), problem }.into()
    }
}

impl There {
    fn open(url: &str) -> Result<Self, FetchError> {
        let refuse = |problem: String| FetchError::Refused { source_name: url.to_owned(), problem };
        let parsed = parsed(url)?;
        match parsed.scheme() {
            "http" | "https" => Web::new(parsed).map(Self::Web).map_err(refuse),
            // This library has its own variables, which people know.
            _ => Bucket::new(&parsed, std::env::vars()).map(Self::Bucket).map_err(refuse),
        }
    }

    /// The files there, by name.
    async fn list(&self, url: &str) -> Result<Vec<RemoteFile>, Failed> {
        match self {
            Self::Web(web) => Ok(vec![web.look().await?]),
            Self::Bucket(bucket) => bucket.list(url).await,
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
    let refuse = |problem: String| FetchError::Refused { source_name: url.to_owned(), problem };
    let parsed = Url::parse(url).map_err(|error| refuse(format!("it is no URL ({error}); correct it")))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        // It must not appear in the error either.
        let problem =
            "it holds a user or a password, which the manifest would show; leave them out".to_owned();
        let source_name = format!("{}://…@{}", parsed.scheme(), parsed.host_str().unwrap_or_default());
        return Err(FetchError::Refused { source_name, problem });
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
            "none of its {} files is of a kind that can be read, such as {first}; expected names as of files of this machine",
            skipped.len()
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
