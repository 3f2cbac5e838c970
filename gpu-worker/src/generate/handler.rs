//! The generate stage: fetches adapters and golden dataset, lets them answer, stores `answers.json`.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use clara_lifecycle::{
    answers::{Answer, Answers},
    attempt::Assignment,
    golden::GoldenDataset,
    results::{AnswersResult, StageResult, TrainingResult},
    stage::Stage,
};
use clara_runtime::{
    metrics,
    stop::{StopReason, StopSignal},
    worker::{AttemptContext, ProgressSender, StageFailure, StageHandler},
};

use super::{AnswersProgress, Contestants, GenerateError, Observer, answer};
use crate::{
    model::Precision,
    model_cache::{ModelCache, SharedModel},
    peft,
    text::TextError,
};

/// Layout of `answers.json`.
const FORMAT: u32 = 1;
const GOLDEN_FILE: &str = "golden.json";

/// What the generate stage works with.
#[derive(Debug, Clone)]
pub struct GenerateConfig {
    /// Base models, shared with training and serving in the same process.
    pub models: ModelCache,
    /// Sequences that are continued together; default 16.
    pub sequences: usize,
    /// Memory for keys and values of all open sequences, in bytes; default 1 GiB.
    pub cache_bytes: usize,
}

impl Default for GenerateConfig {
    fn default() -> Self {
        Self { models: ModelCache::new(), sequences: 16, cache_bytes: 1 << 30 }
    }
}

/// Carries out the generate stage.
#[derive(Debug)]
pub struct GenerateHandler {
    config: GenerateConfig,
}

impl GenerateHandler {
    /// A handler.
    pub fn new(config: GenerateConfig) -> Self {
        Self { config }
    }
}

#[async_trait]
impl StageHandler for GenerateHandler {
    fn stage(&self) -> Stage {
        Stage::Generate
    }

    fn unusable(&self) -> Option<String> {
        self.config.models.devices().lost().map(|lost| lost.to_string())
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        let golden = read_golden(&context).await?;
        let folders = fetch_adapters(&context).await?;
        let assignment = context.assignment.clone();
        let config = self.config.clone();
        let (progress, stop) = (context.progress.clone(), context.stop.clone());
        let mut observer = StageObserver { progress, stop, tokens_counted: 0 };
        let work = move || answer_all(&config, &assignment, &golden, &folders, &mut observer);
        let answers = tokio::task::spawn_blocking(work).await.map_err(StageFailure::retryable)??;
        store(&context, &answers).await
    }
}

/// Where the fetched adapters lie.
struct Folders {
    candidate: PathBuf,
    champion: Option<PathBuf>,
}

async fn read_golden(context: &AttemptContext) -> Result<GoldenDataset, StageFailure> {
    let golden = &context.assignment.golden;
    let bytes = context.artifacts.read(&golden.artifact, GOLDEN_FILE).await.map_err(StageFailure::from)?;
    let dataset: GoldenDataset = serde_json::from_slice(&bytes).map_err(|error| {
        StageFailure::permanent(format!("golden dataset {} cannot be read: {error}", golden.reference))
    })?;
    let found = dataset.digest();
    if found != golden.digest {
        let (reference, pinned) = (&golden.reference, &golden.digest);
        return Err(StageFailure::permanent(format!(
            "golden dataset {reference} has digest {found}, the job pinned {pinned}; submit the job again"
        )));
    }
    Ok(dataset)
}

async fn fetch_adapters(context: &AttemptContext) -> Result<Folders, StageFailure> {
    let training = training(&context.assignment)?;
    let candidate = context.scratch.join("candidate");
    context.artifacts.fetch(&training.adapter, &candidate).await.map_err(StageFailure::from)?;
    let champion = match &context.assignment.champion {
        None => None,
        Some(champion) => {
            let folder = context.scratch.join("champion");
            context.artifacts.fetch(&champion.adapter, &folder).await.map_err(StageFailure::from)?;
            Some(folder)
        }
    };
    Ok(Folders { candidate, champion })
}

/// Loads the models and answers; blocks.
fn answer_all(
    config: &GenerateConfig,
    assignment: &Assignment,
    golden: &GoldenDataset,
    folders: &Folders,
    observer: &mut StageObserver,
) -> Result<Answers, StageFailure> {
    let training = training(assignment)?;
    let adapter_id = assignment.adapter_id.clone();
    let adapter_id = adapter_id.ok_or_else(|| {
        StageFailure::permanent("the trained adapter has no version; register it and retry the job")
    })?;
    let model = config
        .models
        .load(Path::new(&assignment.spec.base_model), Precision::to_answer(assignment.spec.method))
        .map_err(|error| StageFailure::of(&error, false))?;
    check_base(&model, training)?;
    let read = |folder: &Path| {
        peft::read(folder, &model.base.config).map_err(|error| StageFailure::of(&error, false))
    };
    let contestants = Contestants {
        candidate: read(&folders.candidate)?,
        champion: folders.champion.as_deref().map(read).transpose()?,
    };
    let limits = model.limits(config.sequences, config.cache_bytes);
    let options = &assignment.spec.generation;
    let asked: Vec<_> = golden.asked().cloned().collect();
    let samples =
        answer(&model, &contestants, &asked, options, limits, observer).map_err(|error| failure(&error))?;
    Ok(Answers {
        format: FORMAT,
        adapter_id,
        champion_id: assignment.champion.as_ref().map(|champion| champion.adapter_id.clone()),
        base_model: training.base_model.clone(),
        golden_dataset: assignment.golden.reference.clone(),
        golden_digest: assignment.golden.digest.clone(),
        generation: options.clone(),
        samples,
    })
}

/// An adapter answers only on the very base model that it was trained on.
fn check_base(model: &SharedModel, training: &TrainingResult) -> Result<(), StageFailure> {
    let (found, expected) = (model.base.digest.as_str(), training.base_model_digest.as_str());
    if found == expected {
        return Ok(());
    }
    Err(StageFailure::permanent(format!(
        "base model {} has digest {found} here, but the adapter was trained on {expected}; \
         put the same files there and retry the job",
        model.base.name
    )))
}

async fn store(context: &AttemptContext, answers: &Answers) -> Result<StageResult, StageFailure> {
    let folder = context.scratch.join("answers");
    let path = folder.join("answers.json");
    let bytes = serde_json::to_vec_pretty(answers).map_err(StageFailure::permanent)?;
    let written = async {
        tokio::fs::create_dir_all(&folder).await?;
        tokio::fs::write(&path, bytes).await
    };
    written
        .await
        .map_err(|error| StageFailure::retryable(format!("cannot write {}: {error}", path.display())))?;
    let prefix = context.assignment.prefix("answers");
    let artifact = context.artifacts.put_folder(&prefix, &folder).await.map_err(StageFailure::from)?;
    let samples = &answers.samples;
    let candidate_nll = mean_nll(samples.iter().map(|sample| &sample.candidate));
    let base_nll = mean_nll(samples.iter().map(|sample| &sample.base));
    let champion_nll = mean_nll(samples.iter().filter_map(|sample| sample.champion.as_ref()));
    let (Some(candidate_nll), Some(base_nll)) = (candidate_nll, base_nll) else {
        return Err(StageFailure::permanent(
            "the golden dataset has no samples; add some and freeze a new version",
        ));
    };
    Ok(StageResult::Generate(AnswersResult { answers: artifact, candidate_nll, champion_nll, base_nll }))
}

/// The mean over all tokens of all expected outputs; `None` without answers.
fn mean_nll<'a>(answers: impl Iterator<Item = &'a Answer>) -> Option<f64> {
    let (mut sum, mut tokens) = (0.0, 0.0);
    for answer in answers {
        sum += answer.expected_nll * f64::from(answer.expected_tokens);
        tokens += f64::from(answer.expected_tokens);
    }
    (tokens > 0.0).then(|| sum / tokens)
}

fn training(assignment: &Assignment) -> Result<&TrainingResult, StageFailure> {
    let results = assignment.results.iter();
    let mut trained = results.filter_map(|result| match result {
        StageResult::Train(training) => Some(training),
        StageResult::Ingest(_)
        | StageResult::Generate(_)
        | StageResult::Judge(_)
        | StageResult::Gate(_)
        | StageResult::Rollout(_) => None,
    });
    trained
        .next_back()
        .ok_or_else(|| StageFailure::permanent("the job has no trained adapter; retry it from train"))
}

fn failure(error: &GenerateError) -> StageFailure {
    match error {
        GenerateError::Stopped(reason) => StageFailure::Stopped(*reason),
        GenerateError::Text { source: TextError::Engine(cause), .. } => {
            StageFailure::of(error, cause.is_retryable())
        }
        GenerateError::TooLong { .. }
        | GenerateError::NoExpectedOutput { .. }
        | GenerateError::Prompt { .. }
        | GenerateError::Text { .. } => StageFailure::of(error, false),
    }
}

/// Passes progress and stop between the stage and the worker loop.
struct StageObserver {
    progress: ProgressSender,
    stop: StopSignal,
    tokens_counted: u64,
}

impl Observer for StageObserver {
    fn stop(&self) -> Option<StopReason> {
        self.stop.reason()
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn progress(&mut self, now: AnswersProgress) {
        metrics::tokens_generated(now.tokens.saturating_sub(self.tokens_counted));
        self.tokens_counted = now.tokens;
        self.progress.update(|progress| {
            progress.done = now.done;
            progress.total = Some(now.total);
            "answers".clone_into(&mut progress.unit);
            if now.seconds > 0.0 {
                progress.figures.insert("tokens_per_second".to_owned(), now.tokens as f64 / now.seconds);
            }
            if now.done > 0 {
                let left = now.total.saturating_sub(now.done) as f64 * now.seconds / now.done as f64;
                progress.figures.insert("seconds_left".to_owned(), left);
            }
        });
    }
}

#[cfg(test)]
mod tests;
