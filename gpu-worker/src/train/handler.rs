//! The train stage: fetches dataset and checkpoint, trains, stores adapter, report and checkpoints.

mod observer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use clara_lifecycle::{
    artifact::ArtifactRef,
    attempt::Assignment,
    dataset::TrainingRecord,
    results::{DatasetResult, StageResult, TrainingResult},
    stage::Stage,
};
use clara_runtime::{
    stop::{StopReason, StopSignal},
    worker::{AttemptContext, StageFailure, StageHandler},
};

use super::{
    Forecast, Outcome, TrainError, Trained, TrainingInput, TrainingSources,
    output::{report_files, verify_adapter},
    train,
};
use crate::{
    checkpoint::Checkpoint,
    collate::{TextTools, read_records},
    devices::Place,
    folder::write_folder,
    model::ModelError,
    model_cache::{ModelCache, SharedModel},
    peft,
};

use observer::StageObserver;

/// What the train stage works with.
#[derive(Debug, Clone, Default)]
pub struct TrainConfig {
    /// Base models, shared with generation and serving in the same process.
    pub models: ModelCache,
    /// Memory in bytes that a training may take beside its base model; else what the system has free.
    pub memory_limit: Option<u64>,
}

/// Carries out the train stage.
#[derive(Debug)]
pub struct TrainHandler {
    config: TrainConfig,
}

impl TrainHandler {
    /// A handler.
    pub fn new(config: TrainConfig) -> Self {
        Self { config }
    }
}

#[async_trait]
impl StageHandler for TrainHandler {
    fn stage(&self) -> Stage {
        Stage::Train
    }

    fn unusable(&self) -> Option<String> {
        self.config.models.devices().lost().map(|lost| lost.to_string())
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        let fetched = Fetched::new(&context).await?;
        let attempt = BlockingAttempt {
            config: self.config.clone(),
            assignment: context.assignment.clone(),
            fetched,
            results: context.scratch.join("results"),
            stop: context.stop.clone(),
            observer: StageObserver::new(&context),
        };
        let span = tracing::Span::current();
        let work = move || span.in_scope(|| attempt.run());
        let finished = tokio::task::spawn_blocking(work).await.map_err(StageFailure::retryable)??;
        check_stop(&context.stop)?;
        let adapter = put(&context, "adapter", &finished.folder).await?;
        let report = put(&context, "report", &finished.folder).await?;
        Ok(StageResult::Train(TrainingResult { adapter, report, ..finished.result }))
    }
}

/// Input of the attempt, on the local disk.
struct Fetched {
    dataset: PathBuf,
    checkpoint: Option<PathBuf>,
}

impl Fetched {
    async fn new(context: &AttemptContext) -> Result<Self, StageFailure> {
        let dataset = context.scratch.join("dataset");
        let source = &dataset_result(&context.assignment)?.dataset;
        context.artifacts.fetch(source, &dataset).await.map_err(StageFailure::from)?;
        let checkpoint = match &context.assignment.checkpoint {
            None => None,
            Some(artifact) => {
                let folder = context.scratch.join("checkpoint");
                context.artifacts.fetch(artifact, &folder).await.map_err(StageFailure::from)?;
                Some(folder)
            }
        };
        Ok(Self { dataset, checkpoint })
    }
}

/// A finished training with its files on the local disk.
struct Finished {
    folder: PathBuf,
    /// The result but for the stored files.
    result: TrainingResult,
}

/// The part of an attempt that computes.
struct BlockingAttempt {
    config: TrainConfig,
    assignment: Assignment,
    fetched: Fetched,
    results: PathBuf,
    stop: StopSignal,
    observer: StageObserver,
}

impl BlockingAttempt {
    fn run(mut self) -> Result<Finished, StageFailure> {
        let model = self.model().map_err(failure)?;
        let input = self.input(&model).map_err(failure)?;
        let checkpoint = match &self.fetched.checkpoint {
            None => None,
            Some(folder) => {
                let checkpoint = Checkpoint::read(folder).map_err(failure)?;
                tracing::info!(
                    "training continues from the checkpoint after step {}",
                    checkpoint.state.steps
                );
                Some(checkpoint)
            }
        };
        let place = self.config.models.devices().place(&model.base.config).map_err(failure)?;
        let forecast = self.forecast(&input, &model, &place).map_err(failure)?;
        let mut engine = place.engine(&model.base, forecast.recompute).map_err(failure)?;
        match train(engine.as_mut(), &input, checkpoint, &mut self.observer, &self.stop).map_err(failure)? {
            Outcome::Stopped(reason) => Err(StageFailure::Stopped(reason)),
            Outcome::Finished(trained) => self.finish(&input, &model, &forecast, &trained),
        }
    }

    fn model(&self) -> Result<Arc<SharedModel>, ModelError> {
        let spec = &self.assignment.spec;
        self.config.models.load(Path::new(&spec.base_model), spec.method.into())
    }

    fn input(&self, model: &SharedModel) -> Result<TrainingInput, TrainError> {
        let train = read_records(&self.fetched.dataset.join("train.jsonl"))?;
        let held_out = self.fetched.dataset.join("validation.jsonl");
        let validation: Vec<TrainingRecord> =
            if held_out.exists() { read_records(&held_out)? } else { Vec::new() };
        let sources = TrainingSources {
            base: &model.base,
            tools: TextTools { tokenizer: &model.tokenizer, chat_template: &model.chat_template },
            train: &train,
            validation: &validation,
        };
        let spec = &self.assignment.spec;
        TrainingInput::new(spec.method, spec.training.clone(), sources, None)
    }

    fn forecast(
        &self,
        input: &TrainingInput,
        model: &SharedModel,
        place: &Place,
    ) -> Result<Forecast, TrainError> {
        let machine = place.machine(self.config.memory_limit)?;
        let forecast = Forecast::new(input, &model.base, place, machine)?;
        let report = input.train.report();
        tracing::info!(
            "training on {} records in {} rows, {:.0} % of the tokens learned; tokens per record: {}",
            report.records,
            report.rows,
            report.trained_share() * 100.0,
            report.lengths
        );
        if report.truncated > 0 {
            tracing::warn!(
                "{} of {} records lose their end, for they are longer than {} tokens; raise \
                 `training.sequence_length` (--sequence-length) to learn all of them",
                report.truncated,
                report.records,
                self.assignment.spec.training.sequence_length
            );
        }
        tracing::info!("training will take {forecast}");
        Ok(forecast)
    }

    fn finish(
        self,
        input: &TrainingInput,
        model: &SharedModel,
        forecast: &Forecast,
        trained: &Trained,
    ) -> Result<Finished, StageFailure> {
        check_stop(&self.stop)?;
        let steps = trained.steps.len() as u64;
        if trained.kept_step < steps {
            let (kept, of) = (trained.kept_step, self.assignment.spec.training.early_stopping_patience);
            tracing::info!(
                "training ended after step {steps}: {of} validations brought no better loss; the adapter is that of step {kept}"
            );
        }
        let folder = self.results;
        std::fs::create_dir_all(&folder).map_err(|error| {
            StageFailure::retryable(format!("cannot create {}: {error}", folder.display()))
        })?;
        let adapter = folder.join("adapter");
        peft::write(&adapter, &trained.adapter, &model.base.name)
            .map_err(|error| failure(TrainError::WriteAdapter(error)))?;
        let exports = [verify_adapter(&adapter, input, &model.base, trained).map_err(failure)?];
        let files = report_files(input, &model.base, forecast, trained, &exports).map_err(failure)?;
        write_folder(&folder.join("report"), &files).map_err(failure)?;
        let nothing = ArtifactRef { prefix: String::new(), files: Vec::new() };
        let result = TrainingResult {
            adapter: nothing.clone(),
            report: nothing,
            base_model: model.base.name.clone(),
            base_model_digest: model.base.digest.parse().map_err(StageFailure::permanent)?,
            validation_loss_before: trained.validations.first().map(|record| record.loss),
            validation_loss_after: trained.validation_loss(),
            training_loss: trained.steps.last().map_or(0.0, |step| step.loss),
            steps: trained.steps.len() as u64,
            tokens: trained.steps.iter().map(|step| step.tokens).sum(),
        };
        Ok(Finished { folder, result })
    }
}

fn dataset_result(assignment: &Assignment) -> Result<&DatasetResult, StageFailure> {
    let dataset = assignment.results.iter().find_map(|result| match result {
        StageResult::Ingest(dataset) => Some(dataset),
        StageResult::Train(_)
        | StageResult::Generate(_)
        | StageResult::Judge(_)
        | StageResult::Gate(_)
        | StageResult::Rollout(_) => None,
    });
    dataset.ok_or_else(|| StageFailure::permanent("the job has no dataset; retry it from the ingest stage"))
}

/// After a cancel or a fence nothing may be written; a drain that comes after the last step is too late to matter.
fn check_stop(stop: &StopSignal) -> Result<(), StageFailure> {
    match stop.reason() {
        Some(reason @ (StopReason::Cancel | StopReason::Fenced)) => Err(StageFailure::Stopped(reason)),
        Some(StopReason::Drain) | None => Ok(()),
    }
}

async fn put(context: &AttemptContext, name: &str, folder: &Path) -> Result<ArtifactRef, StageFailure> {
    let prefix = context.assignment.prefix(name);
    context.artifacts.put_folder(&prefix, &folder.join(name)).await.map_err(StageFailure::from)
}

fn failure(error: impl Into<TrainError>) -> StageFailure {
    let error = error.into();
    StageFailure::of(&error, error.is_retryable())
}

#[cfg(test)]
mod tests;
