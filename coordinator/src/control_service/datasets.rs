//! Training datasets: lists, one with its manifest, and the bytes of its files.

use std::pin::Pin;

use axum::body::Bytes;
use clara_lifecycle::dataset::DatasetManifest;
use clara_proto::v1;
use clara_runtime::artifacts::ArtifactError;
use futures::{StreamExt as _, stream::BoxStream};
use serde::Serialize;
use tokio_stream::Stream;
use tonic::Status;

use super::{
    Control,
    library::{document, parsed},
};
use crate::{datasets::DatasetView, driver::DriverError, worker_service::status_of};

/// The parts of a file.
pub(super) type FileParts = Pin<Box<dyn Stream<Item = Result<v1::ReadDatasetFileResponse, Status>> + Send>>;

/// A dataset with its manifest.
#[derive(Debug, Serialize)]
pub(crate) struct DatasetDocument {
    #[serde(flatten)]
    view: DatasetView,
    manifest: DatasetManifest,
}

impl Control {
    pub(super) async fn list_datasets(
        &self,
        request: v1::ListDatasetsRequest,
    ) -> Result<v1::ListDatasetsResponse, DriverError> {
        let domain = request.domain.as_deref().map(parsed).transpose()?;
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let views = self.driver.datasets(domain.as_ref(), limit).await?;
        Ok(v1::ListDatasetsResponse { json: views.iter().map(document).collect::<Result<_, _>>()? })
    }

    pub(super) async fn get_dataset(
        &self,
        request: v1::GetDatasetRequest,
    ) -> Result<v1::GetDatasetResponse, DriverError> {
        Ok(v1::GetDatasetResponse { json: document(&self.dataset(&request.dataset).await?)? })
    }

    /// The dataset that a job, a version or the beginning of a digest names.
    pub(crate) async fn dataset(&self, name: &str) -> Result<DatasetDocument, DriverError> {
        let view = self.driver.dataset(name).await?;
        let (_, manifest) = view.manifest(&self.artifacts).await?;
        Ok(DatasetDocument { view, manifest })
    }

    pub(super) async fn stream_dataset_file(
        &self,
        request: v1::ReadDatasetFileRequest,
    ) -> Result<FileParts, DriverError> {
        let parts = self.dataset_file(&request.dataset, &request.path).await?;
        let part = |part: Result<Bytes, ArtifactError>| {
            part.map(|part| v1::ReadDatasetFileResponse { part: part.into() })
                .map_err(|error| status_of(&error.into()))
        };
        Ok(Box::pin(parts.map(part)))
    }

    /// A file of a dataset, in parts.
    pub(crate) async fn dataset_file(
        &self,
        name: &str,
        path: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, ArtifactError>>, DriverError> {
        // The copy of a job or a version is found at once; others are looked for where it is gone.
        let own = self.driver.dataset_copy(name).await?.filter(|own| own.file(path).is_some());
        if let Some(own) = own
            && let Ok(parts) = self.artifacts.pieces(&own, path).await
        {
            return Ok(parts);
        }
        let (artifact, _) = self.driver.dataset(name).await?.manifest(&self.artifacts).await?;
        if artifact.file(path).is_none() {
            let files: Vec<_> = artifact.files.iter().map(|file| file.path.as_str()).collect();
            return Err(DriverError::Invalid(format!(
                "dataset {name} has no file {path}; it has {}",
                files.join(", ")
            )));
        }
        Ok(self.artifacts.pieces(&artifact, path).await?)
    }
}
