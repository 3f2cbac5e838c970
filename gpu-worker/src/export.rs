//! Writes adapters in the forms that other programs want, and proves each by reading it back.

mod arguments;
mod compare;
mod error;
mod gguf_lora;
mod low_rank;
mod merge;
mod report;
mod side_files;
mod update;
mod weight_file;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub use arguments::ExportOptions;
pub use compare::{LogitComparison, Samples};
pub use error::ExportError;
pub use report::{ExportReport, LayerError, REPORT_FILE};
pub use weight_file::WeightType;

use crate::{
    engine::{AdapterWeights, LoraConfig},
    folder::NewFolder,
    model::{self, BaseModel, LoadedModel, Precision},
    peft,
    tokenizer::Tokenizer,
};
use compare::{Allowed, Expected, compare};

/// File of an adapter for llama.cpp.
pub const GGUF_FILE: &str = "adapter.gguf";

/// A form in which an adapter leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A Hugging Face folder of the base model with the adapter in its weights; needs no adapter any more.
    Merged(WeightType),
    /// A GGUF file with the adapter alone, for llama.cpp.
    GgufLora(WeightType),
    /// A PEFT folder of the closest `LoRA` adapter of a rank; without one, twice that of a `DoRA` and that of a `LoRA`.
    PlainLora(Option<usize>),
}

impl ExportFormat {
    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Merged(_) => "merged",
            Self::GgufLora(_) => "gguf-lora",
            Self::PlainLora(_) => "plain-lora",
        }
    }

    fn weight_type(self) -> WeightType {
        match self {
            Self::Merged(weights) | Self::GgufLora(weights) => weights,
            Self::PlainLora(_) => WeightType::F32,
        }
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What is exported, and where to.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// Hugging Face folder or GGUF file of the base model.
    pub base_model: PathBuf,
    /// How the adapter had it in training; a merge takes the weights as they were then.
    pub precision: Precision,
    /// Digest of the base model that the adapter was trained on, where it is known; another one is refused. Without it, that
    /// in a `training.json` beside the adapter's folder counts, as `gpu-worker train` leaves it.
    pub base_model_digest: Option<String>,
    /// PEFT folder of the adapter.
    pub adapter: PathBuf,
    /// The form.
    pub format: ExportFormat,
    /// Folder that is made.
    pub out: PathBuf,
    /// Whether an earlier export that lies there is replaced.
    pub replace: bool,
    /// Texts to compare logits on, beside those that are always taken.
    pub texts: Vec<String>,
}

/// Writes an adapter in another form, reads it back and compares its logits with those of the adapter on its base model.
///
/// # Errors
/// [`ExportError`]; nothing is left of the export then.
pub fn export(request: &ExportRequest) -> Result<ExportReport, ExportError> {
    let folder = NewFolder::begin(&request.out, request.replace.then_some(REPORT_FILE))?;
    let gguf_architecture = model::inspect(&request.base_model)?.gguf_architecture;
    let LoadedModel { base, tokenizer, .. } = model::load(&request.base_model, request.precision)?;
    request.check_base(&base)?;
    let adapter = peft::read(&request.adapter, &base.config)?;
    request.check_format(&adapter.config, &base)?;
    let samples = Samples::of_texts(&tokenizer, &request.texts, base.config.max_positions)?;
    let base = Arc::new(base);
    let expected = Expected::of(&base, &adapter, &samples)?;
    let export =
        Export { request, folder: &folder, gguf_architecture, samples: &samples, expected: &expected };
    let mut report = ExportReport::new(request, &base, &adapter);
    match request.format {
        ExportFormat::Merged(weights) => export.merge(weights, base, &tokenizer, &adapter, &mut report)?,
        ExportFormat::GgufLora(weights) => export.write_gguf(weights, &base, &adapter, &mut report)?,
        ExportFormat::PlainLora(_) => export.write_plain(&base, &adapter, &mut report)?,
    }
    report.list_files(folder.path())?;
    folder.write(REPORT_FILE, &report.to_json()?)?;
    folder.publish()?;
    Ok(report)
}

/// A form of an adapter that was written, read back and compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifiedExport {
    /// The form: peft.
    pub format: &'static str,
    /// The logits of what was written, read back, beside those of the adapter.
    #[serde(flatten)]
    pub verification: LogitComparison,
}

/// Reads a PEFT folder back and compares its logits with those of the adapter that was written to it.
///
/// # Errors
/// [`ExportError`] when it cannot be read or is another adapter.
pub fn verify_peft(
    folder: &Path,
    base: &Arc<BaseModel>,
    adapter: &AdapterWeights,
    samples: &Samples,
) -> Result<VerifiedExport, ExportError> {
    let expected = Expected::of(base, adapter, samples)?;
    let written = peft::read(folder, &base.config)?;
    let verification = compare(&expected, base, Some(&written), samples)?;
    verification.check(Allowed::Summation, "peft")?;
    Ok(VerifiedExport { format: "peft", verification })
}

impl ExportRequest {
    fn check_base(&self, base: &BaseModel) -> Result<(), ExportError> {
        let expected = match &self.base_model_digest {
            Some(digest) => Some(digest.clone()),
            None => digest_beside(&self.adapter)?,
        };
        match expected {
            Some(expected) if expected != base.digest => Err(ExportError::OtherBase {
                path: self.base_model.clone(),
                precision: self.precision,
                expected,
                found: base.digest.clone(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn check_format(&self, config: &LoraConfig, base: &BaseModel) -> Result<(), ExportError> {
        match self.format {
            ExportFormat::GgufLora(_) if config.dora => {
                Err(ExportError::DoraInGguf { adapter: self.adapter.clone(), rank: config.rank * 2 })
            }
            ExportFormat::PlainLora(_) => self.rank(config, base).map(drop),
            ExportFormat::Merged(_) | ExportFormat::GgufLora(_) => Ok(()),
        }
    }

    /// The rank of a plain adapter.
    fn rank(&self, config: &LoraConfig, base: &BaseModel) -> Result<usize, ExportError> {
        let fits = |rank| peft::check_rank(&LoraConfig { rank, ..config.clone() }, &base.config);
        let (rank, refused) = match self.format {
            ExportFormat::PlainLora(Some(0)) => (0, Some("an adapter has at least rank 1".to_owned())),
            ExportFormat::PlainLora(Some(rank)) if rank > config.rank && !config.dora => {
                let reason =
                    format!("the adapter's own rank is {}, and a higher one adds nothing", config.rank);
                (rank, Some(reason))
            }
            ExportFormat::PlainLora(Some(rank)) => (rank, fits(rank).err()),
            ExportFormat::PlainLora(None) if config.dora => {
                let fitting = (config.rank..=2 * config.rank).rev().find(|rank| fits(*rank).is_ok());
                (fitting.unwrap_or(config.rank), None)
            }
            ExportFormat::PlainLora(None) | ExportFormat::Merged(_) | ExportFormat::GgufLora(_) => {
                (config.rank, None)
            }
        };
        refused.map_or(Ok(rank), |reason| Err(ExportError::Rank { rank, reason }))
    }
}

/// Digest of the base model in the report that a training left beside the adapter; none when there is no such report.
fn digest_beside(adapter: &Path) -> Result<Option<String>, ExportError> {
    #[derive(Deserialize)]
    struct Report {
        base_model_digest: String,
        #[serde(rename = "training_digest")]
        _mark: serde::de::IgnoredAny,
    }
    let failed = |path: &Path, source| ExportError::from(crate::model::ModelError::io(path, source));
    let folder = adapter.canonicalize().map_err(|source| failed(adapter, source))?;
    let path = folder.with_file_name(crate::train::REPORT_FILE);
    let report = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|source| failed(&path, source))?,
    };
    // A file of that name may be somebody else's.
    Ok(serde_json::from_slice::<Report>(&report).ok().map(|report| report.base_model_digest))
}

/// An export in the making.
struct Export<'a> {
    request: &'a ExportRequest,
    folder: &'a NewFolder,
    gguf_architecture: &'static str,
    samples: &'a Samples,
    expected: &'a Expected,
}

impl Export<'_> {
    /// Takes the base model, so that it is gone from memory before the merged one is read.
    fn merge(
        &self,
        weights: WeightType,
        base: Arc<BaseModel>,
        tokenizer: &Tokenizer,
        adapter: &AdapterWeights,
        report: &mut ExportReport,
    ) -> Result<(), ExportError> {
        let about =
            side_files::About { base: &base.config, tokenizer, gguf_architecture: self.gguf_architecture };
        for (name, content) in side_files::of(&self.request.base_model, &about, weights)? {
            self.folder.write(&name, &content)?;
        }
        let norms_less_one = self.gguf_architecture == "gemma3";
        let error = merge::write(self.folder.path(), &base, adapter, weights, norms_less_one)?;
        report.rounding_error = Some(error);
        drop(base);
        let merged = model::load(self.folder.path(), Precision::Full)?;
        if !self.samples.are_read_by(&merged.tokenizer)? {
            return Err(ExportError::OtherTokens { base_model: self.request.base_model.clone() });
        }
        let comparison = compare(self.expected, &Arc::new(merged.base), None, self.samples)?;
        report.accept(comparison, Allowed::of(weights))
    }

    fn write_gguf(
        &self,
        weights: WeightType,
        base: &Arc<BaseModel>,
        adapter: &AdapterWeights,
        report: &mut ExportReport,
    ) -> Result<(), ExportError> {
        let layout = gguf_lora::Layout { architecture: self.gguf_architecture, base: &base.config };
        let path = self.folder.path().join(GGUF_FILE);
        self.folder.write(GGUF_FILE, &layout.encode(adapter, weights, &base.name)?)?;
        let written = layout.read(&path, &adapter.config.targets)?;
        let comparison = compare(self.expected, base, Some(&written), self.samples)?;
        report.accept(comparison, Allowed::of(weights))
    }

    fn write_plain(
        &self,
        base: &Arc<BaseModel>,
        adapter: &AdapterWeights,
        report: &mut ExportReport,
    ) -> Result<(), ExportError> {
        let rank = self.request.rank(&adapter.config, base)?;
        report.rank = Some(rank);
        let low_rank::Plain { adapter: plain, layers, error } = low_rank::plain(base, adapter, rank)?;
        report.layers = layers;
        report.approximation_error = Some(error);
        for (name, content) in peft::encode(self.folder.path(), &plain, &base.name)? {
            self.folder.write(name, &content)?;
        }
        let written = peft::read(self.folder.path(), &base.config)?;
        let comparison = compare(self.expected, base, Some(&written), self.samples)?;
        let allowed = if plain == *adapter { Allowed::Summation } else { Allowed::NearerThanNone };
        report.accept(comparison, allowed)
    }
}

#[cfg(test)]
mod tests;
