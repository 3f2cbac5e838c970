//! `export.json`: what was exported and how far it is from the adapter.

use std::path::Path;

use serde::Serialize;

use super::{ExportError, ExportRequest, LogitComparison, WeightType, compare::Allowed};
use crate::{
    engine::AdapterWeights,
    folder,
    model::{self, BaseModel},
};

/// File with the report, beside what was exported.
pub const REPORT_FILE: &str = "export.json";

/// What was exported and how far it is from the adapter.
#[derive(Debug, Clone, Serialize)]
pub struct ExportReport {
    /// Layout of this file; now 1.
    pub format: u32,
    /// Version of this program.
    pub program: &'static str,
    /// The form: merged, gguf-lora or plain-lora.
    pub to: &'static str,
    /// Type of the weights that were written.
    pub dtype: WeightType,
    /// Name of the base model.
    pub base_model: String,
    /// Its digest.
    pub base_model_digest: String,
    /// How the base model was held: full, stored or nf4.
    pub precision: String,
    /// Whether the adapter is a `DoRA`.
    pub dora: bool,
    /// Rank of the adapter.
    pub adapter_rank: usize,
    /// Rank of the plain adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// ‖rounded − exact‖ / ‖exact‖ over all merged weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounding_error: Option<f64>,
    /// ‖plain − given‖ / ‖given‖ over all updates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approximation_error: Option<f64>,
    /// The same for each layer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerError>,
    /// The logits of what was written, read back, beside those of the adapter.
    pub verification: Option<LogitComparison>,
    /// What was written, but for this file.
    pub files: Vec<ExportedFile>,
}

/// How well one layer's update is met.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerError {
    /// The layer, e.g. `model.layers.0.self_attn.q_proj`.
    pub layer: String,
    /// ‖plain − given‖ / ‖given‖ of its update.
    pub error: f64,
}

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportedFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

impl ExportReport {
    pub(super) fn new(request: &ExportRequest, base: &BaseModel, adapter: &AdapterWeights) -> Self {
        Self {
            format: 1,
            program: env!("CARGO_PKG_VERSION"),
            to: request.format.name(),
            dtype: request.format.weight_type(),
            base_model: base.name.clone(),
            base_model_digest: base.digest.clone(),
            precision: request.precision.to_string(),
            dora: adapter.config.dora,
            adapter_rank: adapter.config.rank,
            rank: None,
            rounding_error: None,
            approximation_error: None,
            layers: Vec::new(),
            verification: None,
            files: Vec::new(),
        }
    }

    /// Keeps a comparison that is good enough.
    pub(super) fn accept(
        &mut self,
        comparison: LogitComparison,
        allowed: Allowed,
    ) -> Result<(), ExportError> {
        comparison.check(allowed, self.to)?;
        self.verification = Some(comparison);
        Ok(())
    }

    /// Lists what lies in the folder.
    pub(super) fn list_files(&mut self, folder: &Path) -> Result<(), ExportError> {
        let failed = |source| ExportError::Folder(folder::failed(folder, 0, source));
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            self.files.push(ExportedFile {
                name: entry.file_name().to_string_lossy().into_owned(),
                size_bytes: entry.metadata().map_err(failed)?.len(),
                sha256: model::digest_file(&entry.path())?.as_str().to_owned(),
            });
        }
        self.files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(())
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// The report for people: names and values.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let bytes: u64 = self.files.iter().map(|file| file.size_bytes).sum();
        let mut fields = vec![
            ("form", format!("{} ({})", self.to, self.dtype)),
            ("base model", format!("{}, held as {}", self.base_model, self.precision)),
            ("files", format!("{} of {:.1} MB", self.files.len(), megabytes(bytes))),
        ];
        if let Some(error) = self.rounding_error {
            fields.push(("rounding error", format!("{error:.2e} of the weights' norm")));
        }
        if let Some(error) = self.approximation_error {
            fields.push(("approximation error", format!("{:.2} % of the update's norm", error * 100.0)));
        }
        if let Some(found) = &self.verification {
            fields.push((
                "read back",
                format!(
                    "logits differ by {:.2e} at most and {:.2e} on average (the adapter itself changes them by {:.2e} on average); \
                     same top token at {:.1} % of {} positions",
                    found.max_logit_difference,
                    found.mean_logit_difference,
                    found.adapter_effect,
                    found.same_top_token * 100.0,
                    found.positions
                ),
            ));
        }
        fields
    }
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
