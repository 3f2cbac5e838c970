//! Job specifications.

use clara_lifecycle::{
    gate::{GateMode, GatePolicy},
    id::ClassName,
    retry::RetryPolicy,
    spec::{AdapterInit, GenerationOptions, JobSpec, Method, NoPattern, Overlong, Schedule, TrainingOptions},
};

use super::{ConvertError, names::known, parsed, required};
use crate::v1;

impl From<JobSpec> for v1::JobSpec {
    fn from(spec: JobSpec) -> Self {
        Self {
            domain: spec.domain.to_string(),
            ingest: Some(spec.ingest.into()),
            golden_dataset: spec.golden_dataset.to_string(),
            base_model: spec.base_model,
            method: v1::Method::from(spec.method).into(),
            training: Some(spec.training.into()),
            generation: Some(spec.generation.into()),
            judge: Some(spec.judge.into()),
            gate: Some(spec.gate.into()),
            retry: Some(spec.retry.into()),
            version: spec.version.map(|version| version.to_string()),
            rollout_targets: spec.rollout_targets,
            priority: spec.priority.into(),
            labels: spec.labels.into_iter().collect(),
            idempotency_key: spec.idempotency_key,
            resource_class: Some(spec.resource_class.to_string()),
        }
    }
}

impl TryFrom<v1::JobSpec> for JobSpec {
    type Error = ConvertError;

    fn try_from(spec: v1::JobSpec) -> Result<Self, ConvertError> {
        Ok(Self {
            domain: parsed("spec.domain", &spec.domain)?,
            ingest: required("spec.ingest", spec.ingest)?.try_into()?,
            golden_dataset: parsed("spec.golden_dataset", &spec.golden_dataset)?,
            base_model: spec.base_model,
            method: known::<v1::Method, Method>("spec.method", spec.method)?,
            training: required("spec.training", spec.training)?.try_into()?,
            generation: required("spec.generation", spec.generation)?.into(),
            judge: required("spec.judge", spec.judge)?.try_into()?,
            gate: required("spec.gate", spec.gate)?.try_into()?,
            retry: required("spec.retry", spec.retry)?.into(),
            version: spec.version.map(|version| parsed("spec.version", &version)).transpose()?,
            rollout_targets: spec.rollout_targets,
            priority: u8::try_from(spec.priority)
                .map_err(|error| ConvertError::invalid("spec.priority", error))?,
            labels: spec.labels.into_iter().collect(),
            idempotency_key: spec.idempotency_key,
            resource_class: match spec.resource_class {
                Some(class) => parsed("spec.resource_class", &class)?,
                None => ClassName::default(),
            },
        })
    }
}

impl From<TrainingOptions> for v1::TrainingOptions {
    fn from(options: TrainingOptions) -> Self {
        Self {
            rank: options.rank,
            alpha: options.alpha,
            dropout: options.dropout,
            target_modules: options.target_modules,
            epochs: options.epochs,
            max_steps: options.max_steps,
            learning_rate: options.learning_rate,
            schedule: v1::Schedule::from(options.schedule).into(),
            warmup_ratio: options.warmup_ratio,
            weight_decay: options.weight_decay,
            max_grad_norm: options.max_grad_norm,
            sequence_length: options.sequence_length,
            accumulation: options.accumulation,
            packing: options.packing,
            shuffle: options.shuffle,
            validate_every: options.validate_every,
            checkpoint_every: options.checkpoint_every,
            seed: options.seed,
            use_rslora: options.use_rslora,
            loraplus_lr_ratio: Some(options.loraplus_lr_ratio),
            min_lr_ratio: options.min_lr_ratio,
            decay_ratio: Some(options.decay_ratio),
            early_stopping_patience: options.early_stopping_patience,
            init: Some(v1::AdapterInit::from(options.init).into()),
            overlong: Some(v1::Overlong::from(options.overlong).into()),
        }
    }
}

impl TryFrom<v1::TrainingOptions> for TrainingOptions {
    type Error = ConvertError;

    fn try_from(options: v1::TrainingOptions) -> Result<Self, ConvertError> {
        Ok(Self {
            rank: options.rank,
            alpha: options.alpha,
            dropout: options.dropout,
            target_modules: options.target_modules,
            epochs: options.epochs,
            max_steps: options.max_steps,
            learning_rate: options.learning_rate,
            schedule: known::<v1::Schedule, Schedule>("spec.training.schedule", options.schedule)?,
            warmup_ratio: options.warmup_ratio,
            weight_decay: options.weight_decay,
            max_grad_norm: options.max_grad_norm,
            sequence_length: options.sequence_length,
            accumulation: options.accumulation,
            packing: options.packing,
            shuffle: options.shuffle,
            validate_every: options.validate_every,
            checkpoint_every: options.checkpoint_every,
            seed: options.seed,
            use_rslora: options.use_rslora,
            loraplus_lr_ratio: options.loraplus_lr_ratio.unwrap_or(1.0),
            min_lr_ratio: options.min_lr_ratio,
            decay_ratio: options.decay_ratio.unwrap_or(0.1),
            early_stopping_patience: options.early_stopping_patience,
            init: options.init.map_or(Ok(AdapterInit::Default), |init| {
                known::<v1::AdapterInit, AdapterInit>("spec.training.init", init)
            })?,
            rank_pattern: NoPattern,
            alpha_pattern: NoPattern,
            overlong: options.overlong.map_or(Ok(Overlong::Split), |overlong| {
                known::<v1::Overlong, Overlong>("spec.training.overlong", overlong)
            })?,
        })
    }
}

impl From<GenerationOptions> for v1::GenerationOptions {
    fn from(options: GenerationOptions) -> Self {
        let GenerationOptions { max_new_tokens, temperature, seed, system_prompt } = options;
        Self { max_new_tokens, temperature, seed, system_prompt }
    }
}

impl From<v1::GenerationOptions> for GenerationOptions {
    fn from(options: v1::GenerationOptions) -> Self {
        let v1::GenerationOptions { max_new_tokens, temperature, seed, system_prompt } = options;
        Self { max_new_tokens, temperature, seed, system_prompt }
    }
}

impl From<GatePolicy> for v1::GatePolicy {
    fn from(policy: GatePolicy) -> Self {
        Self {
            mode: v1::GateMode::from(policy.mode).into(),
            approve_at: policy.approve_at,
            review_at: policy.review_at,
            pass_at: policy.pass_at,
            approve_lower_bound: policy.approve_lower_bound,
            champion_margin: policy.champion_margin,
            min_samples: policy.min_samples,
            max_unscored_share: policy.max_unscored_share,
            seed: policy.seed,
            strict: policy.strict,
            min_stratum_samples: Some(policy.min_stratum_samples),
            max_hard_failure_share: Some(policy.max_hard_failure_share),
            reject_hard_failure_share: Some(policy.reject_hard_failure_share),
            max_flip_rate: Some(policy.max_flip_rate),
            max_evaluations: Some(policy.max_evaluations),
        }
    }
}

impl TryFrom<v1::GatePolicy> for GatePolicy {
    type Error = ConvertError;

    fn try_from(policy: v1::GatePolicy) -> Result<Self, ConvertError> {
        let default = Self::default();
        Ok(Self {
            mode: known::<v1::GateMode, GateMode>("spec.gate.mode", policy.mode)?,
            approve_at: policy.approve_at,
            review_at: policy.review_at,
            pass_at: policy.pass_at,
            approve_lower_bound: policy.approve_lower_bound,
            champion_margin: policy.champion_margin,
            min_samples: policy.min_samples,
            max_unscored_share: policy.max_unscored_share,
            seed: policy.seed,
            strict: policy.strict,
            min_stratum_samples: policy.min_stratum_samples.unwrap_or(default.min_stratum_samples),
            max_hard_failure_share: policy.max_hard_failure_share.unwrap_or(default.max_hard_failure_share),
            reject_hard_failure_share: policy
                .reject_hard_failure_share
                .unwrap_or(default.reject_hard_failure_share),
            max_flip_rate: policy.max_flip_rate.unwrap_or(default.max_flip_rate),
            max_evaluations: policy.max_evaluations.unwrap_or(default.max_evaluations),
        })
    }
}

impl From<RetryPolicy> for v1::RetryPolicy {
    fn from(policy: RetryPolicy) -> Self {
        let RetryPolicy { max_attempts, first_pause_ms, longest_pause_ms } = policy;
        Self { max_attempts, first_pause_ms, longest_pause_ms }
    }
}

impl From<v1::RetryPolicy> for RetryPolicy {
    fn from(policy: v1::RetryPolicy) -> Self {
        let v1::RetryPolicy { max_attempts, first_pause_ms, longest_pause_ms } = policy;
        Self { max_attempts, first_pause_ms, longest_pause_ms }
    }
}
