//! Carries out the ingest stage for the worker loop.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use async_trait::async_trait;
use clara_lifecycle::{
    attempt::Assignment,
    dataset::DatasetManifest,
    golden::GoldenDataset,
    results::{DatasetResult, StageResult, StoredDataset},
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
    reuse,
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
        let candidates = assignment.earlier.same_options.clone();
        let work = Work { assignment, golden, out: out.clone(), scratch, watch };
        let (work, stored) = work.on_a_thread(move |work| Ok(work.stored(&candidates)?.cloned())).await?;
        if let Some(stored) = stored
            && let Some(result) =
                reuse::take(&artifacts, &stored, &prefix, &out).await.map_err(StageFailure::from)?
        {
            return Ok(StageResult::Ingest(result));
        }
        let (_, manifest) = work.on_a_thread(Work::make).await?;
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
            key: manifest.key,
            reused_from: None,
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

/// What the blocking thread works with.
struct Work {
    assignment: Assignment,
    golden: GoldenTexts,
    out: PathBuf,
    scratch: PathBuf,
    watch: Watch,
}

impl Work {
    async fn on_a_thread<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> Result<T, IngestError> + Send + 'static,
    ) -> Result<(Self, T), StageFailure> {
        let span = Span::current();
        let entered = move || {
            let _entered = span.enter();
            let done = work(&self);
            done.map(|done| (self, done))
        };
        match tokio::task::spawn_blocking(entered).await {
            Ok(done) => done.map_err(stage_failure),
            Err(error) => Err(StageFailure::retryable(format!(
                "the thread that makes the dataset ended early: {error}"
            ))),
        }
    }

    fn with_request<T>(&self, work: impl FnOnce(&IngestRequest<'_>) -> T) -> T {
        let spec = &self.assignment.spec;
        let scratch = self.scratch.join("work");
        work(&IngestRequest {
            options: &spec.ingest,
            domain: &spec.domain,
            golden: Some(&self.golden),
            base_model: Some(&spec.base_model),
            out: &self.out,
            scratch: &scratch,
        })
    }

    fn stored<'a>(&self, candidates: &'a [StoredDataset]) -> Result<Option<&'a StoredDataset>, IngestError> {
        self.with_request(|request| reuse::find(request, candidates))
    }

    fn make(&self) -> Result<DatasetManifest, IngestError> {
        self.with_request(|request| ingest::run(request, &self.watch))
    }
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
