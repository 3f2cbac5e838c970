//! Finds the files of a job's sources before any of them is read.

mod hugging_face;
mod own;
mod pattern;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use clara_lifecycle::spec::FieldNames;
use walkdir::{DirEntry, WalkDir};

use self::hugging_face::Dataset;
use super::kind::FileKind;
use crate::error::IngestError;

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
    /// The source that it belongs to, as given.
    pub source: Arc<str>,
}

/// What the sources hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Files to read: sources in the order given, files of a folder sorted by path.
    pub files: Vec<SourceFile>,
    /// Files in folders that are of no known kind, and those of a dataset beside its training split.
    pub skipped: Vec<String>,
}

/// Finds all files of `sources`, which are files, folders and patterns, and whose records have the given fields.
///
/// Hidden files and folders within a folder are passed over. Of a folder that Clara or Hugging Face
/// `datasets` wrote only the training split is read.
///
/// # Errors
/// When a source is missing, of an unknown kind or unreadable, a pattern matches nothing, or all of them together hold
/// no byte to read.
pub fn discover(sources: &[String], fields: &FieldNames) -> Result<Found, IngestError> {
    let mut finder = Finder { fields: Arc::new(fields.clone()), source: "".into(), found: Found::default() };
    for source in sources {
        finder.add_source(source)?;
    }
    let found = finder.found;
    let mut bytes = 0;
    for file in &found.files {
        bytes += std::fs::metadata(&file.path).map_err(IngestError::read(&file.path))?.len();
    }
    if bytes == 0 {
        return Err(IngestError::NoDocuments { sources: sources.join(", "), skipped: found.skipped.len() });
    }
    Ok(found)
}

/// What was found so far.
#[derive(Debug)]
struct Finder {
    fields: Arc<FieldNames>,
    /// The source as given that is looked through.
    source: Arc<str>,
    found: Found,
}

impl Finder {
    fn add_source(&mut self, source: &str) -> Result<(), IngestError> {
        self.source = source.into();
        let path = Path::new(source);
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            // A file whose name looks like a pattern is taken for what it is.
            Err(_) if pattern::is_pattern(source) => return self.add_pattern(source),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(IngestError::MissingSource { path: source.to_owned() });
            }
            Err(error) => return Err(IngestError::read(path)(error)),
        };
        if metadata.is_dir() {
            return self.add_folder(path, path);
        }
        let Some(kind) = FileKind::of(path) else {
            let found = path.extension().unwrap_or_default().to_string_lossy();
            return Err(IngestError::UnknownKind { path: source.to_owned(), found: found.into_owned() });
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.add_file(path, name, kind);
        Ok(())
    }

    fn add_pattern(&mut self, source: &str) -> Result<(), IngestError> {
        let matches = pattern::matches(source)?;
        let folder = pattern::fixed_folder(source);
        let first = self.found.files.len();
        for path in &matches {
            if path.is_dir() {
                self.add_folder(path, &folder)?;
            } else {
                self.add_known(path, &folder);
            }
        }
        // A folder that matches may hold a file that matches.
        let mut met = std::collections::BTreeSet::new();
        let mut number = 0;
        self.found.files.retain(|file| {
            number += 1;
            number <= first || met.insert(file.path.clone())
        });
        Ok(())
    }

    /// Adds the files of a folder, named by their paths below `root`.
    fn add_folder(&mut self, folder: &Path, root: &Path) -> Result<(), IngestError> {
        let mut entries = walk(folder).into_iter().filter_entry(is_visible);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|error| unreadable(folder, error))?;
            if !entry.file_type().is_dir() {
                self.add_known(entry.path(), root);
            } else if let Some(dataset) = dataset(entry.path())? {
                for path in &dataset.files {
                    self.add_known(path, root);
                }
                self.found.skipped.extend(dataset.skipped.iter().map(|path| relative_name(root, path)));
                self.skip_rest(entry.path(), root, &dataset)?;
                entries.skip_current_dir();
            }
        }
        Ok(())
    }

    /// Lists what lies in the folder of a dataset and is no part of it.
    fn skip_rest(&mut self, folder: &Path, root: &Path, dataset: &Dataset) -> Result<(), IngestError> {
        for path in visible_files(folder) {
            let path = path?;
            let is_listed = dataset.files.contains(&path)
                || dataset.skipped.iter().any(|skipped| path.starts_with(skipped))
                || hugging_face::is_about_dataset(&path);
            if !is_listed {
                self.found.skipped.push(relative_name(root, &path));
            }
        }
        Ok(())
    }

    fn add_known(&mut self, path: &Path, root: &Path) {
        let name = relative_name(root, path);
        match FileKind::of(path) {
            Some(kind) => self.add_file(path, name, kind),
            None => self.found.skipped.push(name),
        }
    }

    fn add_file(&mut self, path: &Path, name: String, kind: FileKind) {
        let (fields, source) = (Arc::clone(&self.fields), Arc::clone(&self.source));
        self.found.files.push(SourceFile { path: path.to_owned(), name, kind, fields, source });
    }
}

/// The dataset of Clara or of Hugging Face in a folder, `None` when it is none.
fn dataset(folder: &Path) -> Result<Option<Dataset>, IngestError> {
    match own::dataset(folder)? {
        Some(dataset) => Ok(Some(dataset)),
        None => hugging_face::dataset(folder),
    }
}

/// All visible files below a folder, sorted by path.
fn visible_files(folder: &Path) -> impl Iterator<Item = Result<PathBuf, IngestError>> {
    let entries = walk(folder).into_iter().filter_entry(is_visible);
    entries.filter_map(move |entry| match entry {
        Ok(entry) => (!entry.file_type().is_dir()).then(|| Ok(entry.into_path())),
        Err(error) => Some(Err(unreadable(folder, error))),
    })
}

fn walk(folder: &Path) -> WalkDir {
    WalkDir::new(folder).follow_links(true).sort_by_file_name()
}

fn is_visible(entry: &DirEntry) -> bool {
    entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".")
}

fn unreadable(folder: &Path, error: walkdir::Error) -> IngestError {
    let path = error.path().unwrap_or(folder).to_owned();
    IngestError::Read { path, source: error.into() }
}

fn relative_name(folder: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(folder).unwrap_or(path);
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}
