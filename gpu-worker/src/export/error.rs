//! Why an adapter cannot be exported.

use std::path::PathBuf;

use crate::{
    engine::EngineError,
    folder::FolderError,
    model::{ModelError, Precision},
    ops::OpError,
    peft::PeftError,
    tokenizer::TokenizerError,
};

/// Why an adapter cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The base model, or the model that was written, cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The adapter cannot be used.
    #[error(transparent)]
    Peft(#[from] PeftError),
    /// The engine refused something.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A text to compare on cannot be used.
    #[error("cannot read a text to compare logits on")]
    Text(#[source] TokenizerError),
    /// The tokenizer cannot be written.
    #[error("cannot write the tokenizer of the base model")]
    Tokenizer(#[source] TokenizerError),
    /// The folder cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// An option that the form does not have.
    #[error("{0}")]
    Options(String),
    /// The base model is not the one that the adapter was trained on.
    #[error(
        "{path}, held as {precision}, is not the base model that the adapter was trained on: its digest is {found}, \
         expected {expected}; give that model, and --precision nf4 if the adapter was trained with qlora"
    )]
    OtherBase {
        /// The base model as given.
        path: PathBuf,
        /// How it is held.
        precision: Precision,
        /// What the adapter was trained on.
        expected: String,
        /// What was given.
        found: String,
    },
    /// llama.cpp knows no magnitudes.
    #[error(
        "{adapter} is a DoRA adapter, which llama.cpp cannot use; first make it plain with `--to plain-lora --rank {rank}`, \
         then export that, or use `--to merged`"
    )]
    DoraInGguf {
        /// The adapter.
        adapter: PathBuf,
        /// A rank for the plain adapter.
        rank: usize,
    },
    /// A rank that is no use.
    #[error("cannot make an adapter of rank {rank}: {reason}")]
    Rank {
        /// The rank asked for.
        rank: usize,
        /// Why not.
        reason: String,
    },
    /// A value that another type cannot hold.
    #[error("{tensor} holds {value}, which {weights} cannot; use --dtype bf16 or f32")]
    Range {
        /// The tensor.
        tensor: String,
        /// The value.
        value: f32,
        /// The type.
        weights: &'static str,
    },
    /// What was written cannot be what was meant.
    #[error("{path}, just written, cannot be read back: {reason}")]
    ReadBack {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The tokenizer that was written gives other tokens.
    #[error(
        "the tokenizer made from {base_model} reads the sample texts as other tokens than the base model does; \
         export with the Hugging Face folder of the base model"
    )]
    OtherTokens {
        /// The base model.
        base_model: PathBuf,
    },
    /// The logits differ too much.
    #[error(
        "the {format} export was read back and differs from the adapter: {found}, allowed {allowed}; nothing was kept of it"
    )]
    Differs {
        /// The form.
        format: &'static str,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// The report could not be put into words.
    #[error("cannot write the report as JSON")]
    Json(#[from] serde_json::Error),
}

impl From<OpError> for ExportError {
    fn from(error: OpError) -> Self {
        Self::Engine(error.into())
    }
}
