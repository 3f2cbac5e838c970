//! Why a base model cannot be used.

use std::path::{Path, PathBuf};

use crate::{template::TemplateError, tokenizer::TokenizerError};

/// Why a base model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Nothing lies at the path.
    #[error("base model {path} does not exist; give a Hugging Face folder or a GGUF file")]
    NotFound {
        /// The path as given.
        path: PathBuf,
    },
    /// A file that is not a GGUF file.
    #[error("{path} is not a base model; expected a folder with config.json, or a file ending in .gguf")]
    NotAModel {
        /// The path as given.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// The configuration is broken or contradicts itself.
    #[error("{path} is not a usable model configuration: {reason}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, with values.
        reason: String,
    },
    /// Another family of models.
    #[error("{path} holds a model of architecture `{found}`, which is not supported; supported: llama")]
    Architecture {
        /// The file.
        path: PathBuf,
        /// The architecture as the file names it.
        found: String,
    },
    /// The right family with an option that the engines do not know.
    #[error(
        "{path} asks for {feature}, which is not supported; computing without it would give wrong results"
    )]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The option with its value.
        feature: String,
    },
    /// A tensor that the configuration asks for is not there.
    #[error(
        "{path} lacks tensor {tensor}, which its configuration asks for; fetch or export the model again"
    )]
    MissingTensor {
        /// The file or folder.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tensor that the configuration does not know.
    #[error(
        "{path} holds tensor {tensor}, which a plain Llama does not have; leaving it out would give wrong results"
    )]
    UnexpectedTensor {
        /// The file or folder.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tensor of another shape than the configuration says.
    #[error(
        "tensor {tensor} in {path} has shape {got:?}, expected {expected:?}; configuration and weights do not belong together"
    )]
    Shape {
        /// The file or folder.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        got: Vec<usize>,
        /// The shape that follows from the configuration.
        expected: Vec<usize>,
    },
    /// A file that ends too early.
    #[error("{path} is cut off: {reason}; fetch it again")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What is missing, with bytes.
        reason: String,
    },
    /// A file that does not follow its format.
    #[error("{path} cannot be parsed: {reason}; fetch or export it again")]
    Format {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// The tokenizer cannot be used.
    #[error("the tokenizer of {path} cannot be used")]
    Tokenizer {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: TokenizerError,
    },
    /// The chat template cannot be used.
    #[error("the chat template of {path} cannot be used")]
    Template {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: TemplateError,
    },
}

impl ModelError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    pub(crate) fn config(path: &Path, reason: impl Into<String>) -> Self {
        Self::Config { path: path.into(), reason: reason.into() }
    }

    pub(crate) fn unsupported(path: &Path, feature: impl Into<String>) -> Self {
        Self::Unsupported { path: path.into(), feature: feature.into() }
    }

    pub(crate) fn format(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Format { path: path.into(), reason: reason.to_string() }
    }
}
