//! Reads the PEM files of `[sources.NAME]`, and says which setting is wrong when one cannot be used.

use std::{fs, path::Path};

/// The bytes of a PEM file that `setting` of `section` names.
///
/// # Errors
/// Why it cannot be read, and what to correct.
pub(super) fn read(path: &Path, section: &str, setting: &str) -> Result<Vec<u8>, String> {
    fs::read(path)
        .map_err(|error| format!("cannot read {}: {error}; correct {section}.{setting}", path.display()))
}

/// What is wrong with a file that does not hold what is expected.
pub(super) fn lacks(path: &Path, expected: &str, section: &str, setting: &str) -> String {
    format!("{} holds no {expected} in PEM; correct {section}.{setting}", path.display())
}
