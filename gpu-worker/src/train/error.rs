//! Why a training fails.

use clara_lifecycle::digest::Digest;

use crate::{
    checkpoint::CheckpointError,
    collate::{CollateError, ReadError},
    engine::EngineError,
    export::ExportError,
    folder::FolderError,
    model::ModelError,
    peft::PeftError,
};

/// Why a training fails.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The base model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The training data cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The training data cannot be collated.
    #[error(transparent)]
    Collate(#[from] CollateError),
    /// The adapter to start from cannot be used.
    #[error("cannot start from the given adapter")]
    InitialAdapter(#[source] PeftError),
    /// The options do not fit the base model or each other.
    #[error("{0}")]
    Options(String),
    /// There is not enough memory.
    #[error(transparent)]
    Memory(#[from] Box<Shortage>),
    /// The engine refused something.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The loss or the gradients became infinite or undefined.
    #[error(
        "training diverged in step {step}: found {value}, expected a finite number; \
         lower learning_rate, or look at documents {documents}"
    )]
    Diverged {
        /// The step, counted from 1.
        step: u64,
        /// The value found.
        value: f64,
        /// The documents in the step.
        documents: String,
    },
    /// A checkpoint of other data, options or base model.
    #[error(
        "the checkpoint belongs to another training ({found}, this one is {expected}): method, options, data or base \
         model changed; give those that it began with, or start again in another folder"
    )]
    OtherTraining {
        /// This training.
        expected: Digest,
        /// The checkpoint's.
        found: Digest,
    },
    /// A checkpoint that contradicts itself.
    #[error(
        "the checkpoint after {steps} steps claims epoch {epoch}, row {row}, which does not fit; remove it"
    )]
    Position {
        /// Steps recorded.
        steps: u64,
        /// Epoch recorded.
        epoch: u64,
        /// Row recorded.
        row: u64,
    },
    /// A checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Progress or a checkpoint could not be kept.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The result could not be written.
    #[error("cannot write the adapter")]
    WriteAdapter(#[source] PeftError),
    /// The adapter on the disk is not the one that was trained.
    #[error("the adapter was written, but could not be proven when it was read back")]
    VerifyAdapter(#[source] ExportError),
    /// The report could not be written.
    #[error(transparent)]
    WriteReport(#[from] FolderError),
    /// The report could not be put into words.
    #[error("cannot write the report as JSON")]
    Report(#[from] serde_json::Error),
}

/// An observer could not keep something.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep {what}: {reason}")]
pub struct SaveError {
    /// What should have been kept.
    pub what: &'static str,
    /// What failed, with its causes.
    pub reason: String,
}

impl SaveError {
    /// Says what could not be kept.
    pub fn new(what: &'static str, source: &(dyn std::error::Error + 'static)) -> Self {
        Self { what, reason: clara_runtime::daemon::with_causes(source) }
    }
}

/// A training that does not fit into memory: what it takes, and what would fit.
#[derive(Debug, thiserror::Error)]
#[error(
    "training needs {needed} beside the base model even with blocks computed twice ({adapter} for the adapter and its \
     checkpoint, {activations} for activations of {rows} tokens, {scratch} shared), but {free} are free; {advice}"
)]
pub struct Shortage {
    /// Memory beside the base model.
    pub needed: String,
    /// Its part for the adapter.
    pub adapter: String,
    /// Its part that grows with the rows and the layers.
    pub activations: String,
    /// Its part that all layers share.
    pub scratch: String,
    /// Tokens of the longest row.
    pub rows: usize,
    /// Memory that is free.
    pub free: String,
    /// What would fit.
    pub advice: String,
}

impl TrainError {
    /// Whether the same training may succeed when repeated: writing failed, not the input.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Save(_)
            | Self::WriteAdapter(_)
            | Self::VerifyAdapter(_)
            | Self::WriteReport(_)
            | Self::Checkpoint(_)
            | Self::Model(ModelError::Io { .. })
            | Self::Read(ReadError::Io { .. }) => true,
            Self::Engine(error) => error.is_retryable(),
            Self::Model(_)
            | Self::Read(_)
            | Self::Collate(_)
            | Self::InitialAdapter(_)
            | Self::Options(_)
            | Self::Memory(_)
            | Self::Diverged { .. }
            | Self::OtherTraining { .. }
            | Self::Position { .. }
            | Self::Report(_) => false,
        }
    }
}
