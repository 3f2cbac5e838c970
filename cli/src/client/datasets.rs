//! Training datasets: lists, one with its manifest, and verified copies of its files.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use clara_lifecycle::{
    artifact::ArtifactFile,
    dataset::{DatasetManifest, DropReason},
    digest::Digest,
    time::Timestamp,
};
use clara_proto::v1;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::{Answer, CallError, Client, older, read};

/// A training dataset at the coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatasetDocument {
    pub(crate) digest: Digest,
    pub(crate) domain: String,
    pub(crate) query: Option<String>,
    pub(crate) sources: Vec<String>,
    pub(crate) made_at: Option<Timestamp>,
    pub(crate) jobs: Vec<String>,
    pub(crate) adapters: Vec<String>,
    pub(crate) documents_read: Option<u64>,
    pub(crate) documents_kept: Option<u64>,
    pub(crate) dropped: BTreeMap<DropReason, u64>,
    pub(crate) train_records: Option<u64>,
    pub(crate) validation_records: Option<u64>,
    pub(crate) key: Option<Digest>,
    pub(crate) size_bytes: u64,
    pub(crate) files: Vec<ArtifactFile>,
    /// Not told in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<DatasetManifest>,
}

impl Client {
    /// Datasets, newest first.
    pub(crate) async fn datasets(&self, domain: Option<String>, limit: u32) -> Answer<Vec<DatasetDocument>> {
        let answer = self.calls().list_datasets(v1::ListDatasetsRequest { domain, limit }).await;
        let json = answer.map_err(|status| older("`clara data`", status))?.into_inner().json;
        json.iter().map(|json| read("dataset", json)).collect()
    }

    /// The dataset that a job, a version or the beginning of a digest names.
    pub(crate) async fn dataset(&self, name: &str) -> Answer<DatasetDocument> {
        let answer = self.calls().get_dataset(v1::GetDatasetRequest { dataset: name.to_owned() }).await;
        read("dataset", &answer.map_err(|status| older("`clara data`", status))?.into_inner().json)
    }

    /// Copies a file of the dataset that `name` names into `folder` and checks its digest.
    pub(crate) async fn fetch_dataset_file(
        &self,
        name: &str,
        file: &ArtifactFile,
        folder: &Path,
    ) -> Result<()> {
        let request = v1::ReadDatasetFileRequest { dataset: name.to_owned(), path: file.path.clone() };
        let mut parts = self.calls().read_dataset_file(request).await.map_err(CallError::from)?.into_inner();
        let path = folder.join(&file.path);
        let unwritable = || format!("cannot write {}", path.display());
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await.with_context(unwritable)?;
        }
        let mut local = tokio::fs::File::create(&path).await.with_context(unwritable)?;
        let mut hasher = Sha256::new();
        while let Some(part) = parts.message().await.map_err(CallError::from)? {
            hasher.update(&part.part);
            local.write_all(&part.part).await.with_context(unwritable)?;
        }
        local.flush().await.with_context(unwritable)?;
        let found = Digest::from_hash(hasher.finalize().as_ref());
        ensure!(
            found == file.digest,
            "{} of dataset {name} has digest {found}, expected {}; it was changed after it was stored: restore it from a backup",
            file.path,
            file.digest
        );
        Ok(())
    }
}
