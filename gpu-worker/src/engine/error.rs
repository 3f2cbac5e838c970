//! Why an engine refuses a model, an adapter, a batch or a sequence.

use crate::{cuda::DeviceError, ops::OpError};

/// Why an engine refused or could not do something.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// The model's constants contradict each other.
    #[error("cannot use model {model}: {reason}; check its config.json")]
    Config {
        /// Name of the model.
        model: String,
        /// What is wrong, with values.
        reason: String,
    },
    /// A tensor that the configuration asks for is not there.
    #[error(
        "tensor {tensor} is missing in {source_name}; export it again or correct the configuration beside it"
    )]
    MissingTensor {
        /// Name of the tensor.
        tensor: String,
        /// The model or adapter that should hold it.
        source_name: String,
    },
    /// A tensor that the configuration does not know.
    #[error(
        "tensor {tensor} of the adapter belongs to no target module; correct `target_modules` in adapter_config.json"
    )]
    UnexpectedTensor {
        /// Name of the tensor.
        tensor: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error(
        "tensor {tensor} has shape {got:?} with {values} values, expected {expected:?}; \
         export it again or correct the configuration beside it"
    )]
    TensorShape {
        /// Name of the tensor.
        tensor: String,
        /// Its shape.
        got: Vec<usize>,
        /// How many values it holds.
        values: usize,
        /// The shape that follows from the configuration.
        expected: Vec<usize>,
    },
    /// An adapter without any target module.
    #[error("the adapter names no target module; name at least one, for example q_proj")]
    NoTargets,
    /// A target module named twice.
    #[error("target module {module} is named twice; name it once")]
    DuplicateTarget {
        /// The module, as PEFT writes it.
        module: &'static str,
    },
    /// The rank does not fit a layer.
    #[error("rank {rank} does not fit {module}, which is {in_features} wide and gives {out_features}; choose 1 to {}", in_features.max(out_features))]
    Rank {
        /// The rank asked for.
        rank: usize,
        /// The module, as PEFT writes it.
        module: &'static str,
        /// Its input width.
        in_features: usize,
        /// Its output width.
        out_features: usize,
    },
    /// Alpha is not a positive number.
    #[error("alpha is {alpha}, expected a positive finite number")]
    Alpha {
        /// The value asked for.
        alpha: f32,
    },
    /// A dropout that is no share.
    #[error("dropout is {dropout}; expected 0 to below 1, e.g. 0.05")]
    Dropout {
        /// The dropout.
        dropout: f32,
    },
    /// There is no adapter yet.
    #[error("the engine holds no adapter yet; initialise, load or restore one first")]
    NoAdapter,
    /// A batch whose parts do not fit together.
    #[error("malformed batch: {reason}")]
    Batch {
        /// What is wrong, with values.
        reason: String,
    },
    /// A batch without a single label, or a step that counts none.
    #[error(
        "the batch has no target tokens ({positions} positions, all ignored); check truncation and the label mask"
    )]
    NoTargetTokens {
        /// Positions in the batch.
        positions: usize,
    },
    /// A token or label outside the vocabulary.
    #[error(
        "token {token} at position {position} is outside the vocabulary of {vocab_size}; check that tokenizer and model belong together"
    )]
    TokenRange {
        /// The token or label.
        token: i64,
        /// Where it stands.
        position: usize,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// A sequence or document longer than the model's positions.
    #[error("a sequence of {length} tokens exceeds the model's {max_positions} positions; shorten it")]
    SequenceTooLong {
        /// Tokens it would have.
        length: usize,
        /// What the model allows.
        max_positions: usize,
    },
    /// Gradients with NaN or infinity.
    #[error("the gradient norm is {norm}: training diverged; lower the learning rate or check the data")]
    NotFinite {
        /// The norm found.
        norm: f64,
    },
    /// No adapter of that name.
    #[error("no adapter named {name} is loaded; load it first")]
    UnknownAdapter {
        /// The name asked for.
        name: String,
    },
    /// An open sequence uses the adapter.
    #[error("adapter {name} is in use by {sequences} open sequences; close them first")]
    AdapterInUse {
        /// The adapter.
        name: String,
        /// How many sequences use it.
        sequences: usize,
    },
    /// No open sequence of that number.
    #[error("sequence {id} is not open")]
    UnknownSequence {
        /// The number.
        id: u64,
    },
    /// A sequence named twice in one pass.
    #[error("sequence {id} is extended twice in one pass; join its tokens")]
    RepeatedSequence {
        /// The number.
        id: u64,
    },
    /// A pass that would append nothing to a sequence.
    #[error("sequence {id} is extended by no tokens; give at least one")]
    NothingToExtend {
        /// The number.
        id: u64,
    },
    /// Scoring that starts before the second token or after the end.
    #[error(
        "cannot score from token {from} of {length}: the first scored token needs one before it; choose 1 to {length}"
    )]
    ScoreStart {
        /// Index asked for.
        from: usize,
        /// Tokens in the sequence.
        length: usize,
    },
    /// An operation was given operands that do not fit; a defect of the engine.
    #[error("operation refused its operands")]
    Op(#[from] OpError),
    /// A frozen row of zeros under a method that divides by its length.
    #[error("{tensor} has a row of length 0, by which DoRA cannot divide; train with the method lora")]
    NoLength {
        /// The tensor.
        tensor: String,
    },
    /// The CUDA engine does not find what it made itself; a defect of it.
    #[error(
        "{missing} is missing in the CUDA engine, which is a defect of it; report it, and have the CPU do it, with `device = \"cpu\"`"
    )]
    Defect {
        /// What it should have made.
        missing: &'static str,
    },
    /// The GPU refused or failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// What the engine for GPUs leaves to the one for the CPU.
    #[error("the CUDA engine cannot do this: {reason}; have the CPU do it, with `device = \"cpu\"`")]
    Unsupported {
        /// What it cannot do.
        reason: String,
    },
}

impl EngineError {
    /// Whether the same work may succeed elsewhere or later: the device failed, not the input.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Device(error) if error.is_retryable())
    }
}
