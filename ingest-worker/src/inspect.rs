//! Looks into a dataset that was made: its records, what was left out, figures, findings, differences.

mod difference;
mod lint;
mod statistics;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use clara_lifecycle::{
    counted::counted,
    dataset::{DatasetManifest, DroppedDocument, TrainingRecord},
    digest::Digest,
};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::error::IngestError;

pub use difference::{Difference, OptionChange, difference};
pub use lint::{DatasetFinding, DatasetFindingCode, LintOptions, lint};
pub use statistics::{Statistics, statistics};

/// The files with records: those to train on, and those held out.
pub const TRAIN: &str = "train.jsonl";
/// The records that are held out.
pub const VALIDATION: &str = "validation.jsonl";
/// What a dataset is.
pub const MANIFEST: &str = "manifest.json";
/// The documents that were left out; datasets of earlier builds have the second one.
pub const DROPPED: [&str; 2] = ["dropped.jsonl.zst", "dropped.jsonl"];

/// So many files that were not read are named.
const NOT_READ_NAMED: usize = 5;

/// The manifest of the dataset in `folder`.
///
/// # Errors
/// [`IngestError::Read`] when it is missing or cannot be understood.
pub fn manifest(folder: &Path) -> Result<DatasetManifest, IngestError> {
    let path = folder.join(MANIFEST);
    let bytes = std::fs::read(&path).map_err(IngestError::read(&path))?;
    serde_json::from_slice(&bytes).map_err(|error| IngestError::read(&path)(error.into()))
}

/// The files in source folders that were not read, named for people; `None` when all were read.
pub fn not_read(manifest: &DatasetManifest) -> Option<String> {
    let files = &manifest.skipped_files;
    let named: Vec<_> = files.iter().take(NOT_READ_NAMED).map(String::as_str).collect();
    let more = match files.len().saturating_sub(NOT_READ_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let kind = if files.len() == 1 { "another kind or split" } else { "other kinds or splits" };
    (!files.is_empty())
        .then(|| format!("{} of {kind}: {}{more}", counted(files.len(), "file"), named.join(", ")))
}

/// A file with records that is not the one that the manifest tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// [`TRAIN`] or [`VALIDATION`].
    pub file: &'static str,
    /// The digest of what lies there; `None` when the file is missing.
    pub found: Option<Digest>,
    /// The digest in the manifest.
    pub expected: Digest,
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, found, expected } = self;
        match found {
            None => write!(formatter, "{file} is missing"),
            Some(found) => write!(
                formatter,
                "{file} has digest {}, expected {} by {MANIFEST}: it was changed after the dataset was made",
                found.short(),
                expected.short()
            ),
        }
    }
}

/// The files with records in `folder` that are not those that its manifest tells of.
///
/// # Errors
/// [`IngestError::Read`] when a file cannot be read.
pub fn damage(folder: &Path, manifest: &DatasetManifest) -> Result<Vec<Damage>, IngestError> {
    let mut damaged = Vec::new();
    for (file, expected) in [(TRAIN, &manifest.train_digest), (VALIDATION, &manifest.validation_digest)] {
        let found = digest_of(&folder.join(file))?;
        if found.as_ref() != Some(expected) {
            damaged.push(Damage { file, found, expected: expected.clone() });
        }
    }
    Ok(damaged)
}

/// The records of [`TRAIN`] or [`VALIDATION`] in `folder`, in their order.
///
/// # Errors
/// [`IngestError::Read`] when the file is missing; the iterator gives one for a line that cannot be understood.
pub fn records(folder: &Path, name: &str) -> Result<Lines<TrainingRecord>, IngestError> {
    let path = folder.join(name);
    let file = File::open(&path).map_err(IngestError::read(&path))?;
    Ok(Lines::of(path, Box::new(BufReader::new(file))))
}

/// The documents of the dataset in `folder` that were left out, in the order of the sources.
///
/// # Errors
/// [`IngestError::Read`] when the file is missing; the iterator gives one for a line that cannot be understood.
pub fn dropped(folder: &Path) -> Result<Lines<DroppedDocument>, IngestError> {
    let [packed, plain] = DROPPED.map(|name| folder.join(name));
    if !packed.is_file() {
        let file = File::open(&plain).map_err(IngestError::read(&plain))?;
        return Ok(Lines::of(plain, Box::new(BufReader::new(file))));
    }
    let opened = File::open(&packed).and_then(zstd::Decoder::new).map_err(IngestError::read(&packed))?;
    Ok(Lines::of(packed, Box::new(BufReader::new(opened))))
}

/// The digest of a file, `None` where there is none.
fn digest_of(path: &Path) -> Result<Option<Digest>, IngestError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(IngestError::read(path))?,
    };
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        let read = file.read(&mut buffer).map_err(IngestError::read(path))?;
        match buffer.get(..read) {
            Some(bytes) if !bytes.is_empty() => hasher.update(bytes),
            Some(_) | None => return Ok(Some(Digest::from_hash(hasher.finalize().as_ref()))),
        }
    }
}

/// The document that a record was made from: the id without the number of its part.
pub fn document_of(record_id: &str) -> &str {
    match record_id.rsplit_once('#') {
        Some((document, part)) if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) => {
            document
        }
        _ => record_id,
    }
}

/// The lines of a file, one JSON document each.
pub struct Lines<T> {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    line: String,
    what: std::marker::PhantomData<fn() -> T>,
}

impl<T> Lines<T> {
    fn of(path: PathBuf, reader: Box<dyn BufRead + Send>) -> Self {
        Self { path, reader, line: String::new(), what: std::marker::PhantomData }
    }
}

impl<T> fmt::Debug for Lines<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lines").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Iterator for Lines<T> {
    type Item = Result<T, IngestError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line.clear();
        let read: io::Result<T> = match self.reader.read_line(&mut self.line) {
            Ok(0) => return None,
            Ok(_) => serde_json::from_str(&self.line).map_err(Into::into),
            Err(error) => Err(error),
        };
        Some(read.map_err(IngestError::read(&self.path)))
    }
}
