//! Looks into a dataset that was made: its records, what was left out, figures, findings, differences.

mod damage;
mod difference;
mod lint;
mod statistics;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use clara_lifecycle::{
    counted::counted,
    dataset::{DatasetManifest, DroppedDocument, TrainingRecord},
};
use serde::de::DeserializeOwned;

use crate::error::IngestError;

pub use damage::{Damage, damage};
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
