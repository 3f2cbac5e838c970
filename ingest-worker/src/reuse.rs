//! The key of a dataset: everything that it follows from, so that a dataset with the same key can be taken as it is.

#[cfg(test)]
mod tests;

use std::{fs::File, io, path::Path};

use clara_lifecycle::{
    dataset::SourceFileEntry,
    digest::Digest,
    results::{DatasetResult, StoredDataset},
    spec::IngestOptions,
};
use clara_runtime::artifacts::{ArtifactError, ArtifactStore};
use tracing::{info, warn};

use crate::{
    error::IngestError,
    fetch::Place,
    ingest::IngestRequest,
    source::{HashingReader, discover},
};

/// Grows when the same sources and options give another dataset.
const PIPELINE: &str = concat!("2 of ", env!("CARGO_PKG_VERSION"));

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
/// Sources that are no files of this machine are not compared: their datasets are made anew.
///
/// # Errors
/// [`IngestError`] when a source is missing or cannot be read.
pub(crate) fn find<'a>(
    request: &IngestRequest<'_>,
    candidates: &'a [StoredDataset],
) -> Result<Option<&'a StoredDataset>, IngestError> {
    // What is new to a family changes with each of its datasets.
    let IngestOptions { fresh, since_last, clean, .. } = request.options;
    if *fresh || *since_last || clean.skip_known || candidates.is_empty() {
        return Ok(None);
    }
    let Some(key) = key_of(request)? else { return Ok(None) };
    Ok(candidates.iter().find(|stored| stored.result.key.as_ref() == Some(&key)))
}

/// The key of the dataset that `request` would make now; `None` when a source is no file of this machine. Reads the source files once.
///
/// # Errors
/// [`IngestError`] when a source is missing or cannot be read.
pub fn key_of(request: &IngestRequest<'_>) -> Result<Option<Digest>, IngestError> {
    let options = request.options;
    if options.sources.iter().any(|source| Place::of(source).is_remote()) {
        return Ok(None);
    }
    let mut entries = Vec::new();
    for file in discover(&options.sources, &options.fields)?.files {
        let (size_bytes, digest) = file_digest(&file.path).map_err(IngestError::read(&file.path))?;
        entries.push(SourceFileEntry { name: file.name, size_bytes, digest });
    }
    Ok(Some(dataset_key(request, &entries)))
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
            return Ok(None);
        }
    }
    let dataset = artifacts.put_folder(prefix, out).await?;
    info!("took the dataset of job {job}: sources and options are the same; `fresh` makes it anew");
    let reused_from = result.reused_from.clone().or_else(|| Some(job.clone()));
    Ok(Some(DatasetResult { dataset, reused_from, ..result.clone() }))
}

fn file_digest(path: &Path) -> io::Result<(u64, Digest)> {
    let mut reader = HashingReader::new(File::open(path)?);
    io::copy(&mut reader, &mut io::sink())?;
    Ok(reader.read_so_far())
}
