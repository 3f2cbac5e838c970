//! What was fetched for a job, as files to read beside those of this machine.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use clara_lifecycle::{
    dataset::RemoteSourceEntry,
    shown::{shown, shown_list},
    spec::{FieldNames, IngestOptions},
};

use super::{Place, SavedSource, objects};
use crate::{
    error::IngestError,
    source::{FileKind, Found, SourceFile, discover},
};

/// What was fetched for a job; nothing by default.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    folder: PathBuf,
    sources: Vec<SavedSource>,
}

impl Collected {
    /// The finished sources in `folder`.
    pub(super) fn new(folder: &Path, sources: Vec<SavedSource>) -> Self {
        Self { folder: folder.to_owned(), sources }
    }

    /// What the manifest says of the sources.
    pub fn entries(&self) -> Vec<RemoteSourceEntry> {
        self.sources.iter().map(SavedSource::entry).collect()
    }

    /// Finds all files of the job's sources in their order, fetched ones among them.
    ///
    /// # Errors
    /// As [`discover`], and when a remote source was not fetched.
    pub(crate) fn discover(&self, options: &IngestOptions) -> Result<Found, IngestError> {
        if self.sources.is_empty() && !options.sources.iter().any(|source| Place::of(source).is_remote()) {
            return discover(&options.sources, &options.fields);
        }
        let mut found = Found::default();
        let (mut empty, mut skipped) = (true, 0);
        for source in &options.sources {
            let more = match Place::of(source) {
                Place::Local(path) => discover(&[path.to_owned()], &options.fields),
                Place::Server(name) => self.of_server(name),
                Place::Url(url) => self.of_url(url, &options.fields),
            };
            match more {
                Ok(more) => {
                    empty = false;
                    found.files.extend(more.files);
                    found.skipped.extend(more.skipped);
                }
                Err(IngestError::NoDocuments { skipped: more, .. }) => skipped += more,
                Err(error) => return Err(error),
            }
        }
        if empty && options.since_last && !self.sources.is_empty() {
            return Err(IngestError::NothingNew { sources: shown_list(&options.sources) });
        }
        if empty {
            return Err(IngestError::NoDocuments { sources: shown_list(&options.sources), skipped });
        }
        Ok(found)
    }

    /// How fetched files are shown to people, by their paths: where they came from.
    pub(crate) fn shown(&self) -> BTreeMap<PathBuf, Arc<str>> {
        let mut shown = BTreeMap::new();
        for source in
            self.sources.iter().filter(|source| Place::of(&source.source) == Place::Url(&source.source))
        {
            for file in &source.files {
                let path = SavedSource::local(&self.folder, file);
                let below = file.path.strip_prefix(&source.folder()).unwrap_or(&file.path);
                // A web server may name a file otherwise than its URL; people look for the URL.
                let is_itself = source.source.starts_with("http") || source.source.ends_with(below);
                let name = if is_itself {
                    source.source.clone()
                } else {
                    format!("{}{below}", source.source.trim_end_matches('/'))
                };
                shown.insert(path, name.into());
            }
        }
        shown
    }

    fn of_server(&self, name: &str) -> Result<Found, IngestError> {
        let source = self.sources.iter().find(|source| source.source == name);
        let source = source.ok_or_else(|| not_fetched(name))?;
        let files = source.files.iter().map(|file| SourceFile {
            path: SavedSource::local(&self.folder, file),
            name: name.to_owned(),
            kind: FileKind::Fetched,
            fields: Arc::default(),
            source: name.into(),
        });
        let found = Found { files: files.collect(), ..Found::default() };
        if source.fetched == 0 {
            return Err(IngestError::NoDocuments { sources: name.to_owned(), skipped: 0 });
        }
        Ok(found)
    }

    fn of_url(&self, url: &str, fields: &FieldNames) -> Result<Found, IngestError> {
        let request = objects::request(url);
        let source = self.sources.iter().find(|source| source.request == request);
        let source = source.ok_or_else(|| not_fetched(url))?;
        let place = match source.files.as_slice() {
            [file] if !url.ends_with('/') => SavedSource::local(&self.folder, file),
            _ => self.folder.join(source.folder()),
        };
        let mut found = discover(&[place.to_string_lossy().into_owned()], fields)?;
        let given: Arc<str> = url.into();
        for file in &mut found.files {
            file.source = Arc::clone(&given);
        }
        found.skipped.extend(source.skipped.iter().cloned());
        Ok(found)
    }
}

fn not_fetched(source: &str) -> IngestError {
    let source = shown(source);
    let problem = format!("source {source} was not fetched before it was read; this is a fault in Clara");
    IngestError::Options { problem }
}
