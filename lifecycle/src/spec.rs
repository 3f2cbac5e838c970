//! What a user asks for: the specification of a job, validated once before anything is queued.

mod budget;
mod ingest;
mod judge;
mod problems;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    gate::GatePolicy,
    id::{ClassName, Domain, GoldenReference},
    retry::RetryPolicy,
};

pub use budget::JudgeBudget;
pub use ingest::{
    CleanOptions, FieldNames, IngestOptions, PersonalData, RecordOrder, RecordShape, RerankOptions,
    ShapeOptions,
};
pub use judge::{JudgeCalls, JudgeOptions, PanelJudge};
pub use problems::SpecProblem;

/// Everything a job needs to know, fixed at submission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Field of knowledge; names the adapter's family together with the method.
    pub domain: Domain,
    /// Where the training data comes from and how it is cleaned.
    pub ingest: IngestOptions,
    /// The golden dataset that judges the adapter.
    pub golden_dataset: GoldenReference,
    /// Hugging Face folder or GGUF file of the base model.
    pub base_model: String,
    /// How the adapter is trained.
    pub method: Method,
    /// Options of the training.
    pub training: TrainingOptions,
    /// How the golden dataset is answered.
    pub generation: GenerationOptions,
    /// Who scores the answers.
    pub judge: JudgeOptions,
    /// How scores become a decision.
    pub gate: GatePolicy,
    /// When attempts are repeated.
    pub retry: RetryPolicy,
    /// Version given by hand; must be greater than every version of the family.
    pub version: Option<semver::Version>,
    /// Servers that receive the approved adapter.
    pub rollout_targets: Vec<String>,
    /// 0 (lowest) to 9; default 5.
    pub priority: u8,
    /// Class of the workers that train and generate.
    #[serde(default)]
    pub resource_class: ClassName,
    /// Free labels, e.g. `tenant`.
    pub labels: BTreeMap<String, String>,
    /// Two submissions with the same key are one job.
    pub idempotency_key: Option<String>,
}

/// How an adapter is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Low-rank update of full-precision weights.
    Lora,
    /// Low-rank update of a base model quantised to four bits.
    Qlora,
    /// Low-rank update of the direction, with a learned magnitude.
    Dora,
}

/// A text that names no method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a training method; expected lora, qlora or dora")]
pub struct UnknownMethod {
    /// The text as given.
    pub found: String,
}

impl Method {
    /// The name on the wire, in adapter ids and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::Qlora => "qlora",
            Self::Dora => "dora",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        match text {
            "lora" => Ok(Self::Lora),
            "qlora" => Ok(Self::Qlora),
            "dora" => Ok(Self::Dora),
            _ => Err(UnknownMethod { found: text.to_owned() }),
        }
    }
}

/// Options of the training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingOptions {
    /// Inner width of the low-rank update.
    pub rank: u32,
    /// Numerator of the scale alpha / rank.
    pub alpha: f32,
    /// Share (0–1) of the inputs of the low-rank updates that are zeroed in training.
    pub dropout: f32,
    /// How a new adapter begins.
    pub init: AdapterInit,
    /// Refused unless empty: one adapter has one rank.
    #[serde(skip_serializing)]
    pub rank_pattern: NoPattern,
    /// Refused unless empty: one adapter has one alpha.
    #[serde(skip_serializing)]
    pub alpha_pattern: NoPattern,
    /// Linear layers that carry the update, by their PEFT names.
    pub target_modules: Vec<String>,
    /// Passes over the training data.
    pub epochs: u32,
    /// Optimiser steps after which training ends, whatever the epochs; 0 means no limit.
    pub max_steps: u32,
    /// Peak learning rate of AdamW.
    pub learning_rate: f32,
    /// Course of the learning rate after warm-up.
    pub schedule: Schedule,
    /// Share (0–1) of the peak below which the learning rate does not fall.
    pub min_lr_ratio: f32,
    /// Share (0–1) of the steps in which a warm-up–stable–decay schedule falls.
    pub decay_ratio: f32,
    /// Share (0–1) of the steps in which the learning rate rises to its peak.
    pub warmup_ratio: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Gradient norm above which gradients are scaled down; 0 turns clipping off.
    pub max_grad_norm: f32,
    /// Longest packed row in tokens.
    pub sequence_length: u32,
    /// Packed rows per optimiser step.
    pub accumulation: u32,
    /// Whether several short records share a row.
    pub packing: bool,
    /// What becomes of records that are longer than a row.
    pub overlong: Overlong,
    /// Whether the order of records changes from epoch to epoch.
    pub shuffle: bool,
    /// Optimiser steps between validations; 0 validates before and after training only.
    pub validate_every: u32,
    /// Validations in a row without a better loss after which training ends; the adapter is then the one of the best
    /// validation. 0 trains to the end and takes the last.
    pub early_stopping_patience: u32,
    /// Optimiser steps between checkpoints; 0 turns checkpoints off.
    pub checkpoint_every: u32,
    /// Seed of initialisation and shuffling.
    pub seed: u64,
    /// Whether the scale is alpha / √rank instead of alpha / rank (rsLoRA), which suits high ranks.
    pub use_rslora: bool,
    /// Learning rate of each `B` over that of each `A` (LoRA+); 1 is plain LoRA.
    pub loraplus_lr_ratio: f32,
}

/// All linear layers of a Llama block.
pub const ALL_LINEAR: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

impl Default for TrainingOptions {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 32.0,
            dropout: 0.0,
            init: AdapterInit::Default,
            rank_pattern: NoPattern,
            alpha_pattern: NoPattern,
            target_modules: ALL_LINEAR.iter().map(|name| (*name).to_owned()).collect(),
            epochs: 2,
            max_steps: 0,
            learning_rate: 2e-4,
            schedule: Schedule::Cosine,
            min_lr_ratio: 0.0,
            decay_ratio: 0.1,
            warmup_ratio: 0.05,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            sequence_length: 512,
            accumulation: 4,
            packing: true,
            overlong: Overlong::Split,
            shuffle: true,
            validate_every: 10,
            early_stopping_patience: 0,
            checkpoint_every: 10,
            seed: 42,
            use_rslora: false,
            loraplus_lr_ratio: 1.0,
        }
    }
}

/// Course of the learning rate after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Stays at the peak.
    Constant,
    /// Falls in a straight line.
    Linear,
    /// Falls along half a cosine.
    Cosine,
    /// Stays at the peak and falls along half a cosine in the last steps.
    WarmupStableDecay,
}

/// How a new adapter begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterInit {
    /// `A` random, `B` zero.
    Default,
    /// Both from the largest singular values of the frozen weight (`PiSSA`), which suits short trainings.
    Pissa,
}

/// What becomes of records that are longer than a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlong {
    /// Running texts are cut into pieces; conversations and answered prompts, whose end needs their beginning, lose the end.
    Split,
    /// They are left out.
    Drop,
}

/// Stands where PEFT has values per module, and takes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoPattern;

impl<'de> Deserialize<'de> for NoPattern {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<String, f32>::deserialize(from)?;
        if values.is_empty() {
            return Ok(Self);
        }
        Err(serde::de::Error::custom(
            "ranks or alphas per module are not available: vLLM and llama.cpp read one rank and one alpha for the whole \
             adapter and would scale the other modules wrongly; give one `rank` and one `alpha`, and choose modules by \
             `target_modules`",
        ))
    }
}

/// How the golden dataset is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerationOptions {
    /// Longest answer in tokens.
    pub max_new_tokens: u32,
    /// 0 is greedy.
    pub temperature: f32,
    /// Seed of sampling, where the temperature is not 0.
    pub seed: u64,
    /// Text of the system turn; without it the model's template decides.
    pub system_prompt: Option<String>,
}

impl Default for GenerationOptions {
    fn default() -> Self {
        Self { max_new_tokens: 192, temperature: 0.0, seed: 42, system_prompt: None }
    }
}

impl JobSpec {
    /// The same as it may be shown: without the secrets in its URLs, see [`shown`](crate::shown::shown).
    #[must_use]
    pub fn shown(&self) -> Self {
        Self { ingest: self.ingest.shown(), judge: self.judge.shown(), ..self.clone() }
    }

    /// A digest over everything that shapes the result; the idempotency key is left out.
    ///
    /// # Errors
    /// When the specification cannot be written as JSON, which no specification from the wire meets.
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        let content = Self { idempotency_key: None, ..self.clone() };
        Ok(Digest::of(&serde_json::to_vec(&content)?))
    }

    /// The family of adapters that the job adds a version to: `{domain}-{method}`.
    pub fn family(&self) -> String {
        format!("{}-{}", self.domain, self.method)
    }
}
