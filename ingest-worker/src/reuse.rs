//! The key of a dataset: everything that it follows from, so that a dataset with the same key can be taken as it is.

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use clara_lifecycle::{
    dataset::SourceFileEntry,
    digest::Digest,
    results::{DatasetResult, StoredDataset},
    spec::IngestOptions,
};
use clara_runtime::artifacts::{ArtifactError, ArtifactStore};
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use crate::{
    error::IngestError,
    ingest::{IngestObserver, IngestRequest},
};

/// Grows when the same sources and options give another dataset.
const PIPELINE: &str = concat!("4 of ", env!("CARGO_PKG_VERSION"));

const BUFFER_BYTES: usize = 256 << 10;

/// The key of the dataset that `request` makes from source files.
pub(crate) fn dataset_key(request: &IngestRequest<'_>, entries: &[SourceFileEntry]) -> Digest {
    // Whether it is made anew does not change what is made.
    let options = IngestOptions { fresh: false, ..request.options.clone() };
    let options = format!("{options:?}");
    let mut parts = vec![
        ("pipeline", PIPELINE.as_bytes()),
        ("options", options.as_bytes()),
        ("domain", request.domain.as_str().as_bytes()),
    ];
    parts.extend(request.base_model.map(|model| ("base model", model.as_bytes())));
    parts.extend(request.golden.map(|golden| ("golden dataset", golden.digest.as_str().as_bytes())));
    for entry in entries {
        parts.extend([("file", entry.name.as_bytes()), ("content", entry.digest.as_str().as_bytes())]);
    }
    Digest::of_parts(parts)
}

/// The stored dataset that `request` would make again, if there is one; reads the source files once, for their digests.
///
/// # Errors
/// [`IngestError`] when a source is missing or cannot be read, or `observer` asks to stop.
pub(crate) fn find<'a>(
    request: &IngestRequest<'_>,
    candidates: &'a [StoredDataset],
    observer: &dyn IngestObserver,
) -> Result<Option<&'a StoredDataset>, IngestError> {
    // What is new to a family changes with each of its datasets.
    let IngestOptions { fresh, since_last, clean, .. } = request.options;
    if *fresh || *since_last || clean.skip_known || candidates.is_empty() {
        return Ok(None);
    }
    let key = key_of(request, observer)?;
    Ok(candidates.iter().find(|stored| stored.result.key.as_ref() == Some(&key)))
}

/// The key of the dataset that `request` would make now; reads the source files once, those that were fetched too.
///
/// # Errors
/// [`IngestError`] when a source is missing, was not fetched or cannot be read, or `observer` asks to stop.
pub fn key_of(request: &IngestRequest<'_>, observer: &dyn IngestObserver) -> Result<Digest, IngestError> {
    let mut entries = Vec::new();
    for file in request.collected.discover(request.options)?.files {
        let (size_bytes, digest) = file_digest(&file.path, observer)?;
        entries.push(SourceFileEntry { name: file.name, size_bytes, digest });
    }
    Ok(dataset_key(request, &entries))
}

/// Copies a stored dataset below `prefix`, by way of the folder `out`; `None` when its files are not there any more.
///
/// Each attempt owns what it refers to, so that nobody needs to know who else refers to a dataset before it is removed.
///
/// # Errors
/// [`ArtifactError`] when the store cannot be reached, or there is no room left.
pub(crate) async fn take(
    artifacts: &ArtifactStore,
    stored: &StoredDataset,
    prefix: &str,
    out: &Path,
) -> Result<Option<DatasetResult>, ArtifactError> {
    let StoredDataset { job, result } = stored;
    match artifacts.fetch(&result.dataset, out).await {
        Ok(()) => {}
        Err(error) if error.is_retryable() => return Err(error),
        Err(error) => {
            warn!("the dataset of job {job} cannot be taken again and is made anew: {error}");
            return remove(out).map(|()| None);
        }
    }
    let dataset = artifacts.put_folder(prefix, out).await?;
    info!("took the dataset of job {job}: sources and options are the same; `fresh` makes it anew");
    let reused_from = result.reused_from.clone().or_else(|| Some(job.clone()));
    Ok(Some(DatasetResult { dataset, reused_from, ..result.clone() }))
}

/// Removes what was copied before a file was missing.
fn remove(folder: &Path) -> Result<(), ArtifactError> {
    match std::fs::remove_dir_all(folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ArtifactError::Local { path: folder.display().to_string(), source })
        }
        _ => Ok(()),
    }
}

/// Size and digest of a file as it is stored.
fn file_digest(path: &Path, observer: &dyn IngestObserver) -> Result<(u64, Digest), IngestError> {
    let mut file = File::open(path).map_err(IngestError::read(path))?;
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER_BYTES]);
    loop {
        if let Some(reason) = observer.stop() {
            return Err(IngestError::Stopped(reason));
        }
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok((bytes, Digest::from_hash(hasher.finalize().as_ref()))),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(IngestError::read(path)(error)),
        };
        hasher.update(buffer.get(..count).unwrap_or_default());
        bytes += count as u64;
    }
}
