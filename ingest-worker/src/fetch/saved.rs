//! How far the fetching of a job's sources has come: a small file beside what was fetched.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clara_lifecycle::{dataset::RemoteSourceEntry, digest::Digest, shown::shown};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Place, Reached};
use crate::error::IngestError;

/// Layout of the file; one of another layout is not used.
const FORMAT: u32 = 1;
const NAME: &str = "state.json";

/// How far all sources have come.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Saved {
    format: u32,
    /// The remote sources of the job, in its order, as far as they were begun.
    pub sources: Vec<SavedSource>,
}

/// How far one source has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedSource {
    /// As the job names it, without [secrets](shown()).
    pub source: String,
    /// Digest of what it was asked for; what was fetched for another request is not used.
    pub request: Digest,
    /// What was fetched; one file for a server.
    pub files: Vec<SavedFile>,
    /// Files of a URL that are of no known kind and were left where they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// Where a server goes on.
    pub cursor: Option<Value>,
    /// The keys that a server's cursor counts in, where it listed them all at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Documents of a server, or files of a URL, that were fetched.
    pub fetched: u64,
    /// Documents among them that the server gave broken.
    pub broken: u64,
    /// Documents that came again and were taken once.
    pub repeated: u64,
    /// What a later pass needs to take only what changed since.
    pub state: Option<Value>,
    /// Whether nothing is left to fetch.
    pub finished: bool,
}

/// A file that was fetched, or its part that is safe on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFile {
    /// Path below the folder of everything fetched.
    pub path: String,
    /// Bytes that are safe.
    pub bytes: u64,
    /// For a file of a URL: what the other side says of its content, such as its `ETag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
}

impl Saved {
    /// What was saved in `folder`; nothing where nothing was, or by another layout.
    ///
    /// # Errors
    /// [`IngestError::Read`] when the file is there and cannot be read.
    pub fn read(folder: &Path) -> Result<Self, IngestError> {
        let path = folder.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(IngestError::read(&path)(error)),
        };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(saved) if saved.format == FORMAT => Ok(saved),
            Ok(_) | Err(_) => {
                tracing::warn!("{} is of another layout; everything is fetched anew", path.display());
                Ok(Self::default())
            }
        }
    }

    /// Writes it into `folder`, whole or not at all; what it speaks of must be safe before.
    ///
    /// # Errors
    /// [`IngestError::Write`]; what was saved before stays then.
    pub fn write(&mut self, folder: &Path) -> Result<(), IngestError> {
        self.format = FORMAT;
        let path = folder.join(NAME);
        let partial = folder.join(".state.json.part");
        let bytes = serde_json::to_vec(self).map_err(|error| IngestError::write(&path)(error.into()))?;
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&partial, &path)?;
            // The name is safe only with its folder.
            File::open(folder)?.sync_all()
        };
        write().map_err(IngestError::write(&path))
    }

    /// The source of this name that was asked for this request.
    pub fn of(&self, source: &str, request: &Digest) -> Option<&SavedSource> {
        let source = shown(source);
        self.sources.iter().find(|saved| saved.source == source && saved.request == *request)
    }

    /// Notes how far a source has come.
    pub fn put(&mut self, source: SavedSource) {
        match self.sources.iter_mut().find(|saved| saved.is_of_the_same(&source)) {
            Some(saved) => *saved = source,
            None => self.sources.push(source),
        }
    }
}

impl SavedSource {
    /// A source of which nothing was fetched yet.
    pub fn new(source: &str, request: Digest) -> Self {
        Self {
            source: shown(source).into_owned(),
            request,
            files: Vec::new(),
            skipped: Vec::new(),
            cursor: None,
            keys: Vec::new(),
            fetched: 0,
            broken: 0,
            repeated: 0,
            state: None,
            finished: false,
        }
    }

    /// Whether both are of one source: of a server by its name, of a URL by what was asked for, since others may look the same when
    /// their secrets are hidden.
    fn is_of_the_same(&self, other: &Self) -> bool {
        let is_server = matches!(Place::of(&self.source), Place::Server(_));
        self.source == other.source && (is_server || self.request == other.request)
    }

    /// The folder of the source, below that of everything fetched; another request has another one.
    pub fn folder(&self) -> String {
        let name: String = self.source.chars().filter(char::is_ascii_alphanumeric).take(24).collect();
        let request = self.request.as_str();
        format!("{name}-{}", request.get(..16).unwrap_or(request))
    }

    /// Whether everything that it speaks of is in `folder`.
    pub(crate) fn is_there(&self, folder: &Path) -> bool {
        self.files
            .iter()
            .all(|file| fs::metadata(Self::local(folder, file)).is_ok_and(|found| found.len() >= file.bytes))
    }

    /// Cuts off whatever lies behind what is safe.
    pub(crate) fn cut(&self, folder: &Path) -> Result<(), IngestError> {
        for file in &self.files {
            let path = Self::local(folder, file);
            let cut = || {
                let found = File::options().write(true).open(&path)?;
                if found.metadata()?.len() > file.bytes { found.set_len(file.bytes) } else { Ok(()) }
            };
            cut().map_err(IngestError::write(&path))?;
        }
        Ok(())
    }

    /// Where one of its files lies.
    pub(crate) fn local(folder: &Path, file: &SavedFile) -> PathBuf {
        folder.join(&file.path)
    }

    /// Where its server goes on, if it was begun.
    pub(crate) fn reached(&self) -> Option<Reached> {
        self.cursor.clone().map(|cursor| Reached { cursor, keys: self.keys.clone() })
    }

    /// What the manifest says of it.
    pub fn entry(&self) -> RemoteSourceEntry {
        RemoteSourceEntry {
            source: self.source.clone(),
            fetched: self.fetched,
            broken: self.broken,
            repeated: self.repeated,
            state: self.state.clone(),
        }
    }
}
