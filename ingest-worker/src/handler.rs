//! Carries out the ingest stage for the worker loop.

mod checkpoint;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

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
use serde_json::Value;
use tracing::Span;

use crate::{
    earlier::{self, Earlier},
    error::IngestError,
    fetch::{
        CHECKPOINT_EVERY, CollectRequest, Collected, OpenByKind, OpenRemote, Place, Servers, URL_PATIENCE,
        collect,
    },
    figures::{Count, Figures},
    ingest::{self, GoldenTexts, IngestObserver, IngestRequest},
    reuse,
};

use checkpoint::CheckpointKeeper;

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
    async fn collect(
        &self,
        context: &AttemptContext,
        since: &BTreeMap<String, Value>,
    ) -> Result<Collected, IngestError> {
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
            since,
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
        let AttemptContext { assignment, artifacts, scratch, .. } = &context;
        let golden = golden_texts(artifacts, assignment).await?;
        let (prefix, out) = (assignment.prefix("dataset"), scratch.join("dataset"));
        let mut work = Work::new(&context, golden, out.clone());
        ingest::check_early(&work.request()).map_err(stage_failure)?;
        let options = &assignment.spec.ingest;
        work.earlier =
            earlier::fetch(artifacts, &assignment.earlier, options, &scratch.join("earlier")).await?;
        work.collected = self.collect(&context, &work.earlier.since).await.map_err(stage_failure)?;
        let (work, stored) = work.on_a_thread(Work::stored).await?;
        if let Some(stored) = stored
            && let Some(result) =
                reuse::take(artifacts, &stored, &prefix, &out).await.map_err(StageFailure::from)?
        {
            return Ok(StageResult::Ingest(result));
        }
        let (_, manifest) = work.on_a_thread(Work::make).await?;
        let stop = &context.stop;
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
    earlier: Earlier,
    collected: Collected,
    out: PathBuf,
    scratch: PathBuf,
    watch: Watch,
}

impl Work {
    fn new(context: &AttemptContext, golden: GoldenTexts, out: PathBuf) -> Self {
        let AttemptContext { assignment, scratch, progress, stop, .. } = context;
        Self {
            assignment: assignment.clone(),
            golden,
            earlier: Earlier::default(),
            collected: Collected::default(),
            out,
            scratch: scratch.join("work"),
            watch: Watch { progress: progress.clone(), stop: stop.clone(), figures: Figures::default() },
        }
    }

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

    /// The stored dataset that would be made again, if there is one.
    fn stored(&self) -> Result<Option<StoredDataset>, IngestError> {
        let candidates = &self.assignment.earlier.same_options;
        Ok(reuse::find(&self.request(), candidates, &self.watch)?.cloned())
    }

    fn make(&self) -> Result<DatasetManifest, IngestError> {
        ingest::run(&self.request(), &self.watch)
    }

    fn request(&self) -> IngestRequest<'_> {
        let spec = &self.assignment.spec;
        IngestRequest {
            options: &spec.ingest,
            domain: &spec.domain,
            golden: Some(&self.golden),
            known: &self.earlier.known,
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
