//! Sources that are patterns, such as `laws/**/*.xml`.

use std::path::{Path, PathBuf};

use glob::{MatchOptions, glob_with};

use crate::error::IngestError;

const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Whether a source is a pattern rather than a path.
pub(super) fn is_pattern(source: &str) -> bool {
    source.contains(['*', '?', '['])
}

/// The files and folders that match, sorted by their paths.
///
/// # Errors
/// When the pattern cannot be understood, or matches nothing.
pub(super) fn matches(source: &str) -> Result<Vec<PathBuf>, IngestError> {
    let found = glob_with(source, MATCHING).map_err(|error| IngestError::Options {
        problem: format!("the source `{source}` is no pattern: {error}; correct it"),
    })?;
    let mut paths = Vec::new();
    for path in found {
        let path = path.map_err(|error| {
            let path = error.path().to_owned();
            IngestError::Read { path, source: error.into() }
        })?;
        paths.push(path);
    }
    if paths.is_empty() {
        return Err(IngestError::NoMatch { pattern: source.to_owned() });
    }
    paths.sort();
    Ok(paths)
}

/// The folder above the first part of a pattern that may vary; names of documents begin below it.
pub(super) fn fixed_folder(source: &str) -> PathBuf {
    let parts = Path::new(source).iter();
    parts.take_while(|part| part.to_str().is_some_and(|part| !is_pattern(part))).collect()
}
