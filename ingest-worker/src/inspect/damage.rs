//! Which files of a dataset are not those that its manifest tells of.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use clara_lifecycle::{counted::counted, dataset::DatasetManifest, digest::Digest};
use sha2::{Digest as _, Sha256};

use super::{DROPPED, MANIFEST, TRAIN, VALIDATION, dropped};
use crate::error::IngestError;

/// A file that is not the one that the manifest tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// It is not there.
    Missing {
        /// Its name.
        file: &'static str,
    },
    /// It has another digest.
    Changed {
        /// [`TRAIN`] or [`VALIDATION`].
        file: &'static str,
        /// The digest of what lies there.
        found: Digest,
        /// The digest in the manifest.
        expected: Digest,
    },
    /// It ends early, or cannot be understood.
    Unreadable {
        /// One of [`DROPPED`].
        file: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It has another number of lines.
    Miscounted {
        /// Its name.
        file: &'static str,
        /// Lines that lie there.
        found: u64,
        /// Lines by the manifest.
        expected: u64,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { file } => write!(formatter, "{file} is missing"),
            Self::Changed { file, found, expected } => write!(
                formatter,
                "{file} has digest {}, expected {} by {MANIFEST}: it was changed after the dataset was made",
                found.short(),
                expected.short()
            ),
            Self::Unreadable { file, problem } => {
                write!(formatter, "{file} cannot be read to its end: {problem}")
            }
            Self::Miscounted { file, found, expected } => write!(
                formatter,
                "{file} has {}, expected {expected} by {MANIFEST}: one of both was changed after the dataset was made",
                counted(*found, "line")
            ),
        }
    }
}

/// The files in `folder` that are not those that its manifest tells of: the records by their digests, the documents that were
/// left out by their number, since the manifest has no digest of them.
///
/// # Errors
/// [`IngestError::Read`] when a file is there and cannot be opened, or its records cannot be read.
pub fn damage(folder: &Path, manifest: &DatasetManifest) -> Result<Vec<Damage>, IngestError> {
    let mut damaged = Vec::new();
    for (file, expected) in [(TRAIN, &manifest.train_digest), (VALIDATION, &manifest.validation_digest)] {
        match digest_of(&folder.join(file))? {
            None => damaged.push(Damage::Missing { file }),
            Some(found) if found != *expected => {
                damaged.push(Damage::Changed { file, found, expected: expected.clone() });
            }
            Some(_) => {}
        }
    }
    damaged.extend(of_dropped(folder, manifest)?);
    Ok(damaged)
}

/// What is wrong with the list of the documents that were left out.
fn of_dropped(folder: &Path, manifest: &DatasetManifest) -> Result<Option<Damage>, IngestError> {
    let expected: u64 = manifest.dropped.values().sum();
    let [packed, _] = DROPPED;
    let Some(file) = DROPPED.into_iter().find(|name| folder.join(name).is_file()) else {
        return Ok((expected > 0).then_some(Damage::Missing { file: packed }));
    };
    let mut found = 0;
    for document in dropped(folder)? {
        match document {
            Ok(_) => found += 1,
            Err(IngestError::Read { source, .. }) => {
                return Ok(Some(Damage::Unreadable { file, problem: source.to_string() }));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((found != expected).then_some(Damage::Miscounted { file, found, expected }))
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
