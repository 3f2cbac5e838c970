//! Finds the files of a job's sources before any of them is read.

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use clara_lifecycle::spec::FieldNames;
use walkdir::{DirEntry, WalkDir};

use super::{Source, fetched::FetchedSource, jsonl::JsonlSource, plain::PlainSource};
use crate::error::IngestError;

/// What a file holds, told by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `.jsonl`: one document per line.
    Jsonl,
    /// `.md` or `.txt`: the file is one document.
    Plain,
    /// What a server gave: one document per line; no file of a source is of this kind.
    Fetched,
}

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its path below the given source, with `/` between parts; names documents without an id.
    pub name: String,
    /// What it holds.
    pub kind: FileKind,
    /// Names of the fields of its records.
    pub fields: Arc<FieldNames>,
}

/// What the sources hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Files to read: sources in the order given, files of a folder sorted by path.
    pub files: Vec<SourceFile>,
    /// Files in folders that are of no known kind.
    pub skipped: Vec<String>,
}

impl FileKind {
    /// The kind of a file by its name, upper and lower case alike.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_lowercase().as_str() {
            "jsonl" => Some(Self::Jsonl),
            "md" | "txt" => Some(Self::Plain),
            _ => None,
        }
    }
}

impl SourceFile {
    /// Opens the file at its start.
    pub(super) fn open(&self) -> Result<Box<dyn Source>, IngestError> {
        Ok(match self.kind {
            FileKind::Jsonl => Box::new(JsonlSource::open(self)?),
            FileKind::Plain => Box::new(PlainSource::open(self)?),
            FileKind::Fetched => Box::new(FetchedSource::open(self)?),
        })
    }
}

/// Finds all files of `sources`, whose records have the given fields. Hidden files and folders within a folder are passed over.
///
/// # Errors
/// When a source is missing, of an unknown kind or unreadable, or all of them together hold no byte to read.
pub fn discover(sources: &[String], fields: &FieldNames) -> Result<Found, IngestError> {
    let fields = Arc::new(fields.clone());
    let mut found = Found::default();
    for source in sources {
        add_source(source, &fields, &mut found)?;
    }
    let mut bytes = 0;
    for file in &found.files {
        bytes += std::fs::metadata(&file.path).map_err(IngestError::read(&file.path))?.len();
    }
    if bytes == 0 {
        return Err(IngestError::NoDocuments { sources: sources.join(", "), skipped: found.skipped.len() });
    }
    Ok(found)
}

fn add_source(source: &str, fields: &Arc<FieldNames>, found: &mut Found) -> Result<(), IngestError> {
    let path = Path::new(source);
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => IngestError::MissingSource { path: source.to_owned() },
        _ => IngestError::read(path)(error),
    })?;
    if metadata.is_dir() {
        return add_folder(path, fields, found);
    }
    let Some(kind) = FileKind::of(path) else {
        let found = path.extension().unwrap_or_default().to_string_lossy();
        return Err(IngestError::UnknownKind { path: source.to_owned(), found: found.into_owned() });
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    found.files.push(SourceFile { path: path.to_owned(), name, kind, fields: Arc::clone(fields) });
    Ok(())
}

fn add_folder(folder: &Path, fields: &Arc<FieldNames>, found: &mut Found) -> Result<(), IngestError> {
    let is_visible =
        |entry: &DirEntry| entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".");
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(is_visible) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(folder).to_owned();
            IngestError::Read { path, source: error.into() }
        })?;
        if entry.file_type().is_dir() {
            continue;
        }
        let name = relative_name(folder, entry.path());
        match FileKind::of(entry.path()) {
            Some(kind) => found.files.push(SourceFile {
                path: entry.into_path(),
                name,
                kind,
                fields: Arc::clone(fields),
            }),
            None => found.skipped.push(name),
        }
    }
    Ok(())
}

fn relative_name(folder: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(folder).unwrap_or(path);
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}
