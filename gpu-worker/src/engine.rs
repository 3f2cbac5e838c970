//! What every engine can do: train an adapter on a frozen base model, and continue token sequences.

mod batch;
pub mod cuda;
mod error;
mod init;
mod names;
pub mod reference;
mod sequences;

use std::{collections::BTreeMap, ops::Range};

pub use error::EngineError;
pub(crate) use init::fill_uniform;

use crate::model::HostTensor;

/// Label of a position that takes no part in the loss.
pub const IGNORED: i64 = -100;

/// A linear layer of a decoder block that can carry a LoRA adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetModule {
    /// `self_attn.q_proj`
    Query,
    /// `self_attn.k_proj`
    Key,
    /// `self_attn.v_proj`
    Value,
    /// `self_attn.o_proj`
    Output,
    /// `mlp.gate_proj`
    Gate,
    /// `mlp.up_proj`
    Up,
    /// `mlp.down_proj`
    Down,
}

/// Shape of a LoRA adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// Inner width of the update.
    pub rank: usize,
    /// How many of these directions, the last ones, stay as they began (`PiSSA`); 0 where all are learned.
    pub frozen_rank: usize,
    /// Numerator of the scale `alpha / rank`.
    pub alpha: f32,
    /// Layers that carry the update, in every block.
    pub targets: Vec<TargetModule>,
    /// Whether each updated layer has a learned magnitude (`DoRA`).
    pub dora: bool,
    /// Share (0 to below 1) of the inputs of the updates that are zeroed in training.
    pub dropout: f32,
}

impl LoraConfig {
    /// alpha / rank: what `B·A` is multiplied by.
    #[expect(clippy::cast_precision_loss, reason = "a rank is far below 2²⁴")]
    pub fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }

    /// Directions that are learned.
    pub fn learned_rank(&self) -> usize {
        self.rank.saturating_sub(self.frozen_rank)
    }
}

/// An adapter's weights under PEFT tensor names
/// (`base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` `[rank, in]`, `….lora_B.weight` `[out, rank]`, and for
/// `DoRA` `….lora_magnitude_vector` `[out]`).
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterWeights {
    /// Shape of the adapter.
    pub config: LoraConfig,
    /// Weights by PEFT name.
    pub tensors: BTreeMap<String, HostTensor>,
}

/// One packed row of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids of all documents, one after another.
    pub tokens: Vec<u32>,
    /// For each position the token that should follow, or [`IGNORED`]; same length as `tokens`.
    pub labels: Vec<i64>,
    /// Where each document lies in `tokens`; attention stays inside and positions restart at 0.
    pub documents: Vec<Range<usize>>,
}

impl Batch {
    /// Takes in the documents of another batch, behind its own.
    pub fn append(&mut self, other: Self) {
        let start = self.tokens.len();
        self.tokens.extend(other.tokens);
        self.labels.extend(other.labels);
        self.documents
            .extend(other.documents.into_iter().map(|range| range.start + start..range.end + start));
    }
}

/// Summed loss of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BatchLoss {
    /// Sum of negative log-likelihoods over the target tokens, in nats.
    pub loss_sum: f64,
    /// Number of positions with a label.
    pub target_tokens: usize,
}

/// Everything that a training needs to continue bit for bit.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingState {
    /// Current adapter.
    pub adapter: AdapterWeights,
    /// First moments of AdamW, by the adapter's tensor names.
    pub first_moments: BTreeMap<String, HostTensor>,
    /// Second moments of AdamW.
    pub second_moments: BTreeMap<String, HostTensor>,
    /// Optimiser steps taken.
    pub steps: u64,
}

/// Settings of one optimiser step: AdamW with decoupled weight decay, after clipping by the global norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepOptions {
    /// Step size.
    pub learning_rate: f64,
    /// Step size of each `B`, and of magnitudes, over that of each `A` (LoRA+; Hayou et al., arXiv 2402.12354).
    pub b_rate_ratio: f64,
    /// Decay of the first and of the second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Share of `learning_rate` by which every weight shrinks.
    pub weight_decay: f64,
    /// Largest L2 norm over all gradients together; longer gradients are scaled down. `None` never clips.
    pub max_grad_norm: Option<f64>,
}

impl Default for StepOptions {
    fn default() -> Self {
        Self {
            learning_rate: 2e-4,
            b_rate_ratio: 1.0,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: Some(1.0),
        }
    }
}

/// What one optimiser step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// L2 norm of all gradients together, before clipping.
    pub grad_norm: f64,
    /// Whether the gradients were scaled down.
    pub clipped: bool,
}

/// Trains one LoRA adapter on a frozen base model.
///
/// The same calls on the same machine give the same bytes, whatever the number of threads.
pub trait Engine: Send {
    /// Tokens that one pass should have, where that is more than a row: the rows of a step are joined up to it.
    fn tokens_per_pass(&self) -> usize {
        0
    }

    /// Starts a new adapter: `A` uniform in ±1/√in, `B` zero; forgets gradients and moments.
    ///
    /// With frozen directions they and as many learned ones come from the largest singular values of each frozen weight, with
    /// opposite signs, so that the model begins as it was (`PiSSA`; Meng et al., arXiv 2404.02948).
    ///
    /// # Errors
    /// [`EngineError::NoTargets`], [`EngineError::DuplicateTarget`] or [`EngineError::Rank`] for an adapter that the model cannot carry.
    fn init_adapter(&mut self, config: &LoraConfig, seed: u64) -> Result<(), EngineError>;

    /// What the zeroes of the configuration's dropout follow from, beside the number of steps and of batches since the last step.
    fn seed_dropout(&mut self, seed: u64);

    /// Starts from an existing adapter; forgets gradients and moments.
    ///
    /// # Errors
    /// As [`Engine::init_adapter`]; [`EngineError::MissingTensor`], [`EngineError::UnexpectedTensor`] or [`EngineError::TensorShape`]
    /// when the tensors are not those of the configuration.
    fn load_adapter(&mut self, adapter: &AdapterWeights) -> Result<(), EngineError>;

    /// Adds the gradients of `loss_sum / target_tokens_in_step` and returns the loss.
    ///
    /// `target_tokens_in_step` counts the labels of all batches between two calls of [`Engine::step`], so that each target token
    /// weighs the same however they are spread over batches.
    ///
    /// # Errors
    /// [`EngineError::NoAdapter`] before there is one; the batch errors of [`EngineError`] for a malformed batch. Gradients are then unchanged.
    fn forward_backward(
        &mut self,
        batch: &Batch,
        target_tokens_in_step: usize,
    ) -> Result<BatchLoss, EngineError>;

    /// Clips the gradients, moves the adapter by AdamW and zeroes the gradients.
    ///
    /// # Errors
    /// [`EngineError::NoAdapter`] before there is one, [`EngineError::NotFinite`] when the gradients hold NaN or infinity; the
    /// adapter is then unchanged.
    fn step(&mut self, options: &StepOptions) -> Result<StepReport, EngineError>;

    /// The loss of a batch under the current adapter, or under the bare base model when there is none.
    ///
    /// # Errors
    /// The batch errors of [`EngineError`].
    fn evaluate(&mut self, batch: &Batch) -> Result<BatchLoss, EngineError>;

    /// The gradients gathered since the last step, by PEFT tensor name.
    ///
    /// # Errors
    /// [`EngineError::NoAdapter`] before there is one.
    fn gradients(&self) -> Result<BTreeMap<String, HostTensor>, EngineError>;

    /// Everything needed to continue with the same bytes. Gathered gradients are not part of it: call it right after a step.
    ///
    /// # Errors
    /// [`EngineError::NoAdapter`] before there is one.
    fn save(&self) -> Result<TrainingState, EngineError>;

    /// Continues from a saved state; forgets gathered gradients.
    ///
    /// # Errors
    /// As [`Engine::load_adapter`].
    fn restore(&mut self, state: &TrainingState) -> Result<(), EngineError>;
}

/// An open sequence of a [`Decoder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub u64);

/// Continues token sequences, each under its own adapter or none.
pub trait Decoder: Send {
    /// Makes an adapter available under `name`, replacing one that no sequence uses.
    ///
    /// # Errors
    /// As [`Engine::load_adapter`]; [`EngineError::AdapterInUse`] while an open sequence uses that name.
    fn add_adapter(&mut self, name: &str, adapter: &AdapterWeights) -> Result<(), EngineError>;

    /// Forgets an adapter.
    ///
    /// # Errors
    /// [`EngineError::UnknownAdapter`], or [`EngineError::AdapterInUse`] while an open sequence uses it.
    fn remove_adapter(&mut self, name: &str) -> Result<(), EngineError>;

    /// Opens an empty sequence.
    ///
    /// # Errors
    /// [`EngineError::UnknownAdapter`]; what is wrong with an adapter that is put on a device only now.
    fn open(&mut self, adapter: Option<&str>) -> Result<SequenceId, EngineError>;

    /// Appends tokens to several sequences in one pass; returns for each the logits `[vocab]` after its last token.
    ///
    /// # Errors
    /// [`EngineError::UnknownSequence`], [`EngineError::RepeatedSequence`], [`EngineError::NothingToExtend`],
    /// [`EngineError::TokenRange`], [`EngineError::SequenceTooLong`]; no sequence has changed then.
    fn extend(&mut self, inputs: &[(SequenceId, &[u32])]) -> Result<Vec<Vec<f32>>, EngineError>;

    /// Log-probability, in nats, of each token from index `from` on, given all tokens before it; `from` is at least 1.
    ///
    /// # Errors
    /// [`EngineError::UnknownAdapter`], [`EngineError::ScoreStart`], [`EngineError::TokenRange`], [`EngineError::SequenceTooLong`].
    fn score(&mut self, adapter: Option<&str>, tokens: &[u32], from: usize) -> Result<Vec<f32>, EngineError>;

    /// Tokens in a sequence so far.
    ///
    /// # Errors
    /// [`EngineError::UnknownSequence`].
    fn length(&self, id: SequenceId) -> Result<usize, EngineError>;

    /// Closes a sequence and frees its cache.
    ///
    /// # Errors
    /// [`EngineError::UnknownSequence`].
    fn close(&mut self, id: SequenceId) -> Result<(), EngineError>;
}
