//! Carries out the ingest stage for the worker loop.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use clara_lifecycle::{
    attempt::Assignment,
    dataset::DatasetManifest,
    golden::GoldenDataset,
    results::{DatasetResult, StageResult},
    stage::Stage,
};
use clara_runtime::{
    artifacts::ArtifactStore,
    metrics,
    stop::{StopReason, StopSignal},
    worker::{AttemptContext, ProgressSender, StageFailure, StageHandler},
};
use tracing::Span;

use crate::{
    error::IngestError,
    fetch::Servers,
    ingest::{self, GoldenTexts, IngestObserver, IngestRequest},
};

/// Turns the job's sources into a dataset; keeps nothing between attempts.
#[derive(Debug, Clone, Default)]
pub struct IngestHandler {
    servers: Servers,
}

impl IngestHandler {
    /// A handler that knows these servers.
    pub fn new(servers: Servers) -> Self {
        Self { servers }
    }
}

#[async_trait]
impl StageHandler for IngestHandler {
    fn stage(&self) -> Stage {
        Stage::Ingest
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        let AttemptContext { assignment, artifacts, scratch, progress, stop } = context;
        let golden = golden_texts(&artifacts, &assignment).await?;
        let prefix = assignment.prefix("dataset");
        let out = scratch.join("dataset");
        let watch = Watch { progress, stop: stop.clone() };
        let manifest = make_dataset(assignment, golden, out.clone(), scratch, watch).await?;
        if let Some(reason) = stop.reason() {
            return Err(StageFailure::Stopped(reason));
        }
        let dataset = artifacts.put_folder(&prefix, &out).await.map_err(StageFailure::from)?;
        metrics::documents(manifest.documents_kept, manifest.documents_read - manifest.documents_kept);
        Ok(StageResult::Ingest(DatasetResult {
            dataset,
            documents_read: manifest.documents_read,
            documents_kept: manifest.documents_kept,
            dropped: manifest.dropped,
            train_records: manifest.train_records,
            validation_records: manifest.validation_records,
            source_digest: manifest.source_digest,
        }))
    }
}

async fn golden_texts(
    artifacts: &ArtifactStore,
    assignment: &Assignment,
) -> Result<GoldenTexts, StageFailure> {
    let golden = &assignment.golden;
    let bytes = artifacts.read(&golden.artifact, "golden.json").await.map_err(StageFailure::from)?;
    let dataset: GoldenDataset = serde_json::from_slice(&bytes).map_err(|error| {
        StageFailure::permanent(format!(
            "cannot read golden dataset {}: {error}; export it, repair it and import it as a new version",
            golden.reference
        ))
    })?;
    Ok(GoldenTexts::new(golden.reference.clone(), golden.digest.clone(), &dataset))
}

async fn make_dataset(
    assignment: Assignment,
    golden: GoldenTexts,
    out: PathBuf,
    scratch: PathBuf,
    watch: Watch,
) -> Result<DatasetManifest, StageFailure> {
    let span = Span::current();
    let work = move || {
        let _entered = span.enter();
        blocking(&assignment, &golden, &out, &scratch, &watch)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(made) => made.map_err(stage_failure),
        Err(error) => {
            Err(StageFailure::retryable(format!("the thread that makes the dataset ended early: {error}")))
        }
    }
}

fn blocking(
    assignment: &Assignment,
    golden: &GoldenTexts,
    out: &Path,
    scratch: &Path,
    watch: &Watch,
) -> Result<DatasetManifest, IngestError> {
    let spec = &assignment.spec;
    let scratch = scratch.join("work");
    let request = IngestRequest {
        options: &spec.ingest,
        domain: &spec.domain,
        golden,
        base_model: Some(&spec.base_model),
        out,
        scratch: &scratch,
    };
    ingest::run(&request, watch)
}

fn stage_failure(error: IngestError) -> StageFailure {
    match error {
        IngestError::Stopped(reason) => StageFailure::Stopped(reason),
        error => StageFailure::of(&error, error.is_retryable()),
    }
}

/// Passes progress and stop between the blocking thread and the worker loop.
struct Watch {
    progress: ProgressSender,
    stop: StopSignal,
}

impl IngestObserver for Watch {
    fn documents(&self, done: u64, total: Option<u64>) {
        self.progress.update(|progress| {
            progress.done = done;
            progress.total = total;
            "documents".clone_into(&mut progress.unit);
        });
    }

    fn stop(&self) -> Option<StopReason> {
        self.stop.reason()
    }
}
