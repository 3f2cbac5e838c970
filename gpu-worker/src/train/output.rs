//! The report of a finished training.

use std::{path::Path, sync::Arc};

use clara_lifecycle::{
    digest::Digest,
    spec::{Method, TrainingOptions},
};
use serde::Serialize;

use super::{Forecast, METRICS_FILE, TrainError, Trained, TrainingInput, ValidationRecord, metrics_lines};
use crate::{
    collate::CollateReport,
    export::{Samples, VerifiedExport, verify_peft},
    model::BaseModel,
};

/// `training.json`: what was trained on what, and how it went.
#[derive(Debug, Serialize)]
pub struct RunReport<'a> {
    /// Layout of this file; now 1.
    pub format: u32,
    /// Version of this program.
    pub program: &'static str,
    /// Machine and threads.
    pub host: Host,
    /// Digest over everything that shapes the adapter.
    pub training_digest: &'a Digest,
    /// Name of the base model.
    pub base_model: &'a str,
    /// SHA-256 of the base model's files.
    pub base_model_digest: &'a str,
    /// How the adapter was trained.
    pub method: Method,
    /// Options as given.
    pub options: &'a TrainingOptions,
    /// What was expected before the first step.
    pub forecast: &'a Forecast,
    /// What became of the training records.
    pub train: &'a CollateReport,
    /// What became of the validation records.
    pub validation: Option<&'a CollateReport>,
    /// Share (0–1) of the training tokens that are learned.
    pub trained_share: f64,
    /// Mean validation loss before training, in nats per token.
    pub validation_loss_before: Option<f64>,
    /// Mean validation loss of the adapter that was kept.
    pub validation_loss_after: Option<f64>,
    /// Steps taken when the adapter was kept.
    pub kept_step: u64,
    /// Every validation.
    pub validations: &'a [ValidationRecord],
    /// Loss of the last step.
    pub training_loss: f64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Tokens passed through the model in training.
    pub tokens: u64,
    /// Time spent in steps and validations.
    pub seconds: f64,
    /// Tokens of all steps per second of all steps.
    pub tokens_per_second: f64,
    /// What was written of the adapter, each form read back and compared with what was trained.
    pub exports: &'a [VerifiedExport],
}

/// Machine and threads.
#[derive(Debug, Serialize)]
pub struct Host {
    /// Kind of processor.
    pub architecture: &'static str,
    /// Operating system.
    pub system: &'static str,
    /// Threads that compute.
    pub threads: usize,
}

impl<'a> RunReport<'a> {
    /// Sums up a finished training.
    pub fn new(
        input: &'a TrainingInput,
        base: &'a BaseModel,
        forecast: &'a Forecast,
        trained: &'a Trained,
        exports: &'a [VerifiedExport],
    ) -> Self {
        let step_seconds: f64 = trained.steps.iter().map(|step| step.seconds).sum();
        let tokens: u64 = trained.steps.iter().map(|step| step.tokens).sum();
        #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^53")]
        let tokens_per_second = if step_seconds > 0.0 { tokens as f64 / step_seconds } else { 0.0 };
        Self {
            format: 1,
            program: env!("CARGO_PKG_VERSION"),
            host: Host {
                architecture: std::env::consts::ARCH,
                system: std::env::consts::OS,
                threads: rayon::current_num_threads(),
            },
            training_digest: &input.digest,
            base_model: &base.name,
            base_model_digest: &base.digest,
            method: input.method,
            options: &input.options,
            forecast,
            train: input.train.report(),
            validation: input.validation.as_ref().map(crate::collate::Rows::report),
            trained_share: input.train.report().trained_share(),
            validation_loss_before: trained.validations.first().map(|record| record.loss),
            validation_loss_after: trained.validation_loss(),
            kept_step: trained.kept_step,
            validations: &trained.validations,
            training_loss: trained.steps.last().map_or(0.0, |step| step.loss),
            steps: trained.steps.len() as u64,
            tokens,
            seconds: trained.seconds,
            tokens_per_second,
            exports,
        }
    }
}

/// File with the summary; in a folder of its own kind it is written last.
pub const REPORT_FILE: &str = "training.json";

/// Reads the adapter's folder back and compares its logits with those of the trained one, on the first validation records,
/// or training records where there are none.
///
/// # Errors
/// [`TrainError::VerifyAdapter`] when the folder holds something else.
pub fn verify_adapter(
    folder: &Path,
    input: &TrainingInput,
    base: &Arc<BaseModel>,
    trained: &Trained,
) -> Result<VerifiedExport, TrainError> {
    let samples = Samples::of_rows(input.validation.as_ref().unwrap_or(&input.train));
    verify_peft(folder, base, &trained.adapter, &samples).map_err(TrainError::VerifyAdapter)
}

/// The report's files with their content.
///
/// # Errors
/// [`TrainError::Report`] when something cannot be written as JSON.
pub fn report_files(
    input: &TrainingInput,
    base: &BaseModel,
    forecast: &Forecast,
    trained: &Trained,
    exports: &[VerifiedExport],
) -> Result<[(&'static str, Vec<u8>); 2], TrainError> {
    let mut report = serde_json::to_vec_pretty(&RunReport::new(input, base, forecast, trained, exports))?;
    report.push(b'\n');
    let metrics = metrics_lines(&trained.steps, &trained.validations)?;
    Ok([(METRICS_FILE, metrics), (REPORT_FILE, report)])
}
