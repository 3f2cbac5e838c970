//! What an ingest has to know of the family's earlier datasets: their documents, and how far they had read their servers.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clara_lifecycle::{
    artifact::ArtifactRef, dataset::DatasetManifest, results::EarlierDatasets, spec::IngestOptions,
};
use clara_runtime::{artifacts::ArtifactStore, worker::StageFailure};
use serde_json::Value;
use tracing::{info, warn};

use crate::dedupe::SIGNATURES_FILE;

/// What is known of earlier datasets.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Earlier {
    /// Copies of [`SIGNATURES_FILE`], those of the newest dataset first; empty unless `clean.skip_known` asks for them.
    pub(crate) known: Vec<PathBuf>,
    /// By source as its job named it: the state up to which the newest dataset has seen everything; empty unless `since_last`
    /// asks for it.
    pub(crate) since: BTreeMap<String, Value>,
}

/// Copies below `folder` what `options` ask for.
///
/// # Errors
/// [`StageFailure`] when a file is missing, damaged or cannot be copied: without it documents would be taken twice.
pub(crate) async fn fetch(
    artifacts: &ArtifactStore,
    earlier: &EarlierDatasets,
    options: &IngestOptions,
    folder: &Path,
) -> Result<Earlier, StageFailure> {
    let mut found = Earlier::default();
    if options.clean.skip_known {
        for (number, dataset) in earlier.family.iter().enumerate() {
            if let Some(path) = signatures(artifacts, dataset, &folder.join(number.to_string())).await? {
                found.known.push(path);
            }
        }
        info!(known_datasets = found.known.len(), "compares with earlier datasets of the family");
    }
    if let (true, Some(newest)) = (options.since_last, earlier.family.first()) {
        found.since = states(artifacts, newest).await?;
    }
    Ok(found)
}

async fn signatures(
    artifacts: &ArtifactStore,
    dataset: &ArtifactRef,
    folder: &Path,
) -> Result<Option<PathBuf>, StageFailure> {
    let Some(file) = dataset.file(SIGNATURES_FILE) else {
        warn!(
            "dataset {} was made by an earlier version, which kept no signatures: its documents are not known again",
            dataset.digest().short()
        );
        return Ok(None);
    };
    let alone = ArtifactRef { prefix: dataset.prefix.clone(), files: vec![file.clone()] };
    artifacts.fetch(&alone, folder).await?;
    Ok(Some(folder.join(SIGNATURES_FILE)))
}

async fn states(
    artifacts: &ArtifactStore,
    newest: &ArtifactRef,
) -> Result<BTreeMap<String, Value>, StageFailure> {
    let bytes = artifacts.read(newest, "manifest.json").await?;
    let manifest: DatasetManifest = serde_json::from_slice(&bytes).map_err(|error| {
        StageFailure::permanent(format!(
            "cannot read the manifest of the family's newest dataset {}: {error}; leave out since_last to read everything",
            newest.digest().short()
        ))
    })?;
    let told = manifest.remote_sources.into_iter().filter_map(|source| Some((source.source, source.state?)));
    Ok(told.collect())
}
