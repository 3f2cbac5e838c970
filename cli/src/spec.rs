//! The specification of a job from flags and a file; flags win.

mod data;
mod file;
mod key;
mod limits;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use clara_lifecycle::{
    gate::GateMode,
    id::{ClassName, Domain, GoldenReference},
    spec::{AdapterInit, IngestOptions, JobSpec, Method, Overlong},
};

use serde::de::{DeserializeOwned, IntoDeserializer as _};

use crate::usage::{check, usage};

use data::FamilyArgs;
use file::SpecFile;
use limits::JudgeLimitArgs;

pub(crate) use data::{DataArgs, SourceArgs};

/// What makes a job.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SpecArgs {
    /// Field of knowledge, e.g. verwaltungsrecht; names the adapter. Needed here or in --spec, as are --source,
    /// --golden-dataset and --base-model
    #[arg(long)]
    pub(crate) domain: Option<Domain>,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
    /// Golden dataset that judges the adapter: ID, ID@VERSION, or a .json file that is imported and frozen
    #[arg(long, value_name = "ID[@VERSION]|FILE")]
    pub(crate) golden_dataset: Option<String>,
    /// Base model: a Hugging Face folder or a GGUF file
    #[arg(long, value_name = "PATH", env = "CLARA_BASE_MODEL")]
    pub(crate) base_model: Option<String>,
    /// How the adapter is trained: lora, dora (learned magnitudes) or qlora (base model held in four bits) [default: lora]
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Option<Method>,
    /// Specification file (TOML) with the fields of a job; flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) spec: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    family: FamilyArgs,
    #[command(flatten)]
    pub(crate) evaluation: EvaluationArgs,
    #[command(flatten)]
    limits: JudgeLimitArgs,
    /// Version of the adapter, instead of the next one by the rule
    #[arg(long, value_name = "SEMVER", help_heading = "Job")]
    pub(crate) adapter_version: Option<semver::Version>,
    /// Free label
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair, help_heading = "Job")]
    pub(crate) labels: Vec<(String, String)>,
    /// Who submits the job, for four eyes at its approval; kept as the label `submitted_by`
    #[arg(long, value_name = "NAME", env = "USER", help_heading = "Job")]
    submitted_by: Option<String>,
    /// 0 (lowest) to 9 [default: 5]
    #[arg(long, help_heading = "Job")]
    pub(crate) priority: Option<u8>,
    /// Class of the workers that train and generate [default: default]
    #[arg(long = "class", value_name = "NAME", help_heading = "Job")]
    pub(crate) resource_class: Option<ClassName>,
    /// Two submissions with the same key are one job
    #[arg(long, value_name = "KEY", help_heading = "Job")]
    pub(crate) idempotency_key: Option<String>,
}

/// Options of the training.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct TrainingArgs {
    /// Inner width of the low-rank update [default: 16]
    #[arg(long, allow_negative_numbers = true)]
    rank: Option<u32>,
    /// Numerator of the scale alpha / rank [default: twice the rank]
    #[arg(long, allow_negative_numbers = true)]
    alpha: Option<f32>,
    /// Scale alpha / √rank instead of alpha / rank (rsLoRA), for high ranks
    #[arg(long)]
    use_rslora: bool,
    /// Learning rate of each B over that of each A (LoRA+), e.g. 16 [default: 1]
    #[arg(long, value_name = "RATIO", allow_negative_numbers = true)]
    loraplus_lr_ratio: Option<f32>,
    /// Share of the inputs of the low-rank updates that are zeroed in training, e.g. 0.05 [default: 0]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    dropout: Option<f32>,
    /// How the adapter begins: default (A random, B zero) or pissa (largest singular values of the weight)
    #[arg(long, value_name = "INIT", value_parser = from_name::<AdapterInit>)]
    init: Option<AdapterInit>,
    /// What becomes of records longer than a row: drop, or split, which cuts texts into pieces and the end off other
    /// records [default: split]
    #[arg(long, value_name = "CHOICE", value_parser = from_name::<Overlong>)]
    overlong: Option<Overlong>,
    /// Passes over the training data [default: 2]
    #[arg(long, allow_negative_numbers = true)]
    epochs: Option<u32>,
    /// Stop after so many optimiser steps; 0 means no limit
    #[arg(long, allow_negative_numbers = true)]
    max_steps: Option<u32>,
    /// Peak learning rate of AdamW [default: 2e-4]
    #[arg(long, allow_negative_numbers = true)]
    learning_rate: Option<f32>,
    /// End after so many validations without a better loss, with the best adapter [default: train to the end]
    #[arg(long, value_name = "VALIDATIONS", allow_negative_numbers = true)]
    early_stopping_patience: Option<u32>,
    /// Longest packed row in tokens [default: 512]
    #[arg(long, value_name = "TOKENS", allow_negative_numbers = true)]
    sequence_length: Option<u32>,
    /// Layers that carry the update [default: all linear layers]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    target_modules: Vec<String>,
    /// Seed of initialisation, shuffling and split [default: 42]
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<u64>,
}

/// Options of judge and gate.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Evaluation")]
pub(crate) struct EvaluationArgs {
    /// OpenAI-compatible endpoint that judges [default: the base model itself, uncalibrated]
    #[arg(long, value_name = "URL")]
    judge_url: Option<String>,
    /// Model at the endpoint [default: the first that it lists]
    #[arg(long, value_name = "NAME")]
    judge_model: Option<String>,
    /// Environment variable that holds the endpoint's key; its name ends in _API_KEY
    #[arg(long, value_name = "VARIABLE")]
    judge_api_key_env: Option<String>,
    /// Decide by confidence bounds or by the mean alone [default: bounds]
    #[arg(long, value_enum)]
    gate_mode: Option<GateModeArg>,
    /// Mean score from which on the version is approved without a person [default: 85]
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    auto_approve_threshold: Option<f64>,
    /// Mean score below which the version is rejected [default: 70]
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    review_threshold: Option<f64>,
    /// Longest answer in tokens [default: 192]
    #[arg(long, value_name = "TOKENS", allow_negative_numbers = true)]
    max_new_tokens: Option<u32>,
}

/// The gate's modes as flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GateModeArg {
    /// Compares the mean with the thresholds
    Point,
    /// Compares confidence bounds with the thresholds
    Bounds,
}

impl SpecArgs {
    /// The golden dataset's name: that of the flag, else that of the specification file.
    ///
    /// # Errors
    /// A specification file that cannot be read.
    pub(crate) fn golden_named(&self) -> Result<Option<String>> {
        match &self.golden_dataset {
            Some(named) => Ok(Some(named.clone())),
            None => Ok(data_in_file(self.spec.as_deref())?.golden_dataset),
        }
    }

    /// The specification. Paths that are here are made absolute, so that the job does not depend on where
    /// the command was given. `golden` is what [`Self::golden_named`] came to.
    ///
    /// # Errors
    /// What is missing, or all impossible values together, as errors of usage; a file that cannot be read.
    pub(crate) fn resolve(&self, golden: Option<GoldenReference>) -> Result<JobSpec> {
        let file = SpecFile::read(self.spec.as_deref())?;
        let missing = |what: &str, flag: &str| {
            usage(format!("{what} is missing; give {flag}, or `{what}` in --spec FILE"))
        };
        let base_model = self.base_model.clone().or(file.base_model).ok_or_else(|| {
            missing("base_model", "--base-model PATH or the environment variable CLARA_BASE_MODEL")
        })?;
        let mut spec = JobSpec {
            domain: self.domain.clone().or(file.domain).ok_or_else(|| missing("domain", "--domain NAME"))?,
            ingest: file.ingest,
            golden_dataset: golden
                .ok_or_else(|| missing("golden_dataset", "--golden-dataset ID or FILE.json"))?,
            base_model: absolute(&base_model),
            method: self.method.or(file.method).unwrap_or(Method::Lora),
            training: file.training,
            generation: file.generation,
            judge: file.judge,
            gate: file.gate,
            retry: file.retry,
            version: self.adapter_version.clone().or(file.version),
            rollout_targets: file.rollout_targets,
            priority: self.priority.or(file.priority).unwrap_or(5),
            resource_class: self.resource_class.clone().or(file.resource_class).unwrap_or_default(),
            labels: file.labels,
            idempotency_key: self.idempotency_key.clone().or(file.idempotency_key),
        };
        self.training.apply(&mut spec);
        self.sources.apply(&mut spec.ingest);
        self.data.apply(&mut spec.ingest)?;
        self.family.apply(&mut spec.ingest);
        set(&mut spec.ingest.seed, self.training.seed);
        self.evaluation.apply(&mut spec, file.judge_keys.as_slice());
        self.limits.apply(&mut spec.judge);
        spec.labels.extend(self.labels.iter().cloned());
        if let Some(person) = self.submitted_by.as_ref().filter(|person| !person.is_empty()) {
            spec.labels.entry("submitted_by".to_owned()).or_insert_with(|| person.clone());
        }
        let mut problems = spec.problems();
        problems.extend(key::problems(&spec.judge));
        check(&problems)?;
        Ok(spec)
    }
}

impl TrainingArgs {
    fn apply(&self, spec: &mut JobSpec) {
        let training = &mut spec.training;
        if let Some(rank) = self.rank {
            #[expect(clippy::cast_precision_loss, reason = "a rank is small, and is checked at submission")]
            let twice = rank as f32 * 2.0;
            (training.rank, training.alpha) = (rank, twice);
        }
        set(&mut training.alpha, self.alpha);
        training.use_rslora |= self.use_rslora;
        set(&mut training.loraplus_lr_ratio, self.loraplus_lr_ratio);
        set(&mut training.dropout, self.dropout);
        set(&mut training.init, self.init);
        set(&mut training.overlong, self.overlong);
        set(&mut training.epochs, self.epochs);
        set(&mut training.max_steps, self.max_steps);
        set(&mut training.learning_rate, self.learning_rate);
        set(&mut training.early_stopping_patience, self.early_stopping_patience);
        set(&mut training.sequence_length, self.sequence_length);
        set(&mut training.seed, self.seed);
        if !self.target_modules.is_empty() {
            training.target_modules.clone_from(&self.target_modules);
        }
    }
}

impl EvaluationArgs {
    /// `in_file` names the keys of the judge that the file sets.
    fn apply(&self, spec: &mut JobSpec, in_file: &[String]) {
        let judge = &mut spec.judge;
        set_some(&mut judge.url, self.judge_url.as_ref());
        set_some(&mut judge.model, self.judge_model.as_ref());
        set_some(&mut judge.api_key_env, self.judge_api_key_env.as_ref());
        if judge.url.is_none() {
            // The base model judges: too small for useful reasons, and batching makes it several times faster.
            let free = |key: &str| !in_file.iter().any(|set| set == key);
            if free("reasoning") {
                judge.reasoning = false;
            }
            if free("concurrency") {
                judge.concurrency = 8;
            }
        }
        if let Some(mode) = self.gate_mode {
            spec.gate.mode = match mode {
                GateModeArg::Point => GateMode::Point,
                GateModeArg::Bounds => GateMode::Bounds,
            };
        }
        if let Some(threshold) = self.auto_approve_threshold {
            spec.gate = spec.gate.clone().with_approve_at(threshold);
        }
        set(&mut spec.gate.review_at, self.review_threshold);
        set(&mut spec.generation.max_new_tokens, self.max_new_tokens);
    }
}

/// What a specification file says about the training data.
#[derive(Debug)]
pub(crate) struct DataInFile {
    pub(crate) domain: Option<Domain>,
    pub(crate) ingest: IngestOptions,
    pub(crate) golden_dataset: Option<String>,
    pub(crate) base_model: Option<String>,
}

/// Reads the training data's part of a specification file; without one everything has its default.
pub(crate) fn data_in_file(path: Option<&Path>) -> Result<DataInFile> {
    let SpecFile { domain, ingest, golden_dataset, base_model, .. } = SpecFile::read(path)?;
    Ok(DataInFile { domain, ingest, golden_dataset, base_model })
}

/// One of a few named choices.
fn from_name<T: DeserializeOwned>(name: &str) -> Result<T, serde::de::value::Error> {
    T::deserialize(name.into_deserializer())
}

/// `key=value`, neither empty.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// The absolute form of a path that is here; what is not here is left as it is, for a coordinator elsewhere.
pub(crate) fn absolute(path: &str) -> String {
    Path::new(path).canonicalize().map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn set_some<T: Clone>(target: &mut Option<T>, value: Option<&T>) {
    if let Some(value) = value {
        *target = Some(value.clone());
    }
}
