//! Carries out the ingest stage for the worker loop.

mod checkpoint;
mod figures;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

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
    fetch::{
        CHECKPOINT_EVERY, CollectRequest, Collected, OpenByKind, OpenRemote, Place, Servers, URL_PATIENCE,
        collect,
    },
    ingest::{self, GoldenTexts, IngestObserver, IngestRequest},
};

use checkpoint::CheckpointKeeper;
use figures::{Count, Figures};

/// Turns the job's sources into a dataset; keeps nothing between attempts.
#[derive(Debug, Clone)]
pub struct IngestHandler {
    servers: Servers,
    remotes: Arc<dyn OpenRemote>,
}

impl Default for IngestHandler {
    fn default() -> Self {
        Self::new(Servers::new())
    }
}

impl IngestHandler {
    /// A handler that knows these servers.
    pub fn new(servers: Servers) -> Self {
        Self { servers, remotes: Arc::new(OpenByKind) }
    }

    /// Fetches what the sources name elsewhere; what an earlier attempt fetched comes from its checkpoint.
    async fn collect(&self, context: &AttemptContext) -> Result<Collected, IngestError> {
        let AttemptContext { assignment, scratch, stop, .. } = context;
        let options = &assignment.spec.ingest;
        if !options.sources.iter().any(|source| Place::of(source).is_remote()) {
            return Ok(Collected::default());
        }
        let folder = scratch.join("fetched");
        let mut keeper = CheckpointKeeper::new(context, &folder);
        keeper.restore().await?;
        let request = CollectRequest {
            options,
            domain: &assignment.spec.domain,
            servers: &self.servers,
            since: &BTreeMap::new(),
            folder: &folder,
            checkpoint_every: CHECKPOINT_EVERY,
            patience: URL_PATIENCE,
        };
        collect(&request, self.remotes.as_ref(), &mut keeper, stop).await
    }
}

#[async_trait]
impl StageHandler for IngestHandler {
    fn stage(&self) -> Stage {
        Stage::Ingest
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        let golden = golden_texts(&context.artifacts, &context.assignment).await?;
        let watch = Watch {
            progress: context.progress.clone(),
            stop: context.stop.clone(),
            figures: Figures::default(),
        };
        let out = context.scratch.join("dataset");
        let mut work = Work {
            assignment: context.assignment.clone(),
            golden,
            collected: Collected::default(),
            out: out.clone(),
            scratch: context.scratch.join("work"),
            watch,
        };
        ingest::check_early(&work.request()).map_err(stage_failure)?;
        work.collected = self.collect(&context).await.map_err(stage_failure)?;
        let manifest = work.run().await?;
        let AttemptContext { assignment, artifacts, stop, .. } = context;
        if let Some(reason) = stop.reason() {
            return Err(StageFailure::Stopped(reason));
        }
        let prefix = assignment.prefix("dataset");
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

/// The part of an attempt that computes.
struct Work {
    assignment: Assignment,
    golden: GoldenTexts,
    collected: Collected,
    out: PathBuf,
    scratch: PathBuf,
    watch: Watch,
}

impl Work {
    /// Makes the dataset on a thread of its own.
    async fn run(self) -> Result<DatasetManifest, StageFailure> {
        let span = Span::current();
        let work = move || {
            let _entered = span.enter();
            self.blocking()
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(made) => made.map_err(stage_failure),
            Err(error) => Err(StageFailure::retryable(format!(
                "the thread that makes the dataset ended early: {error}"
            ))),
        }
    }

    fn blocking(&self) -> Result<DatasetManifest, IngestError> {
        ingest::run(&self.request(), &self.watch)
    }

    fn request(&self) -> IngestRequest<'_> {
        let spec = &self.assignment.spec;
        IngestRequest {
            options: &spec.ingest,
            domain: &spec.domain,
            golden: &self.golden,
            base_model: Some(&spec.base_model),
            collected: &self.collected,
            out: &self.out,
            scratch: &self.scratch,
        }
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
    figures: Figures,
}

impl IngestObserver for Watch {
    fn documents(&self, done: u64, total: Option<u64>) {
        self.figures.tell(&self.progress, Count { done, unit: "documents", total, bytes: None });
    }

    fn stop(&self) -> Option<StopReason> {
        self.stop.reason()
    }
}
