//! Why a text cannot be generated.

use crate::engine::EngineError;

/// Why a text cannot be generated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TextError {
    /// A prompt without tokens.
    #[error("the prompt has no tokens; give at least one message with text")]
    EmptyPrompt,
    /// Prompt and answer exceed the context.
    #[error(
        "this model's context length is {context_length} tokens, but {} were asked for ({prompt_tokens} in the prompt, \
         {max_tokens} for the answer); shorten the prompt or lower max_tokens", prompt_tokens + max_tokens
    )]
    TooLong {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens asked for the answer.
        max_tokens: usize,
        /// Tokens the model allows.
        context_length: usize,
    },
    /// Too many requests wait already.
    #[error("{waiting} requests are waiting already; try again later")]
    Busy {
        /// Requests that may wait.
        waiting: usize,
    },
    /// The model gave logits that are not numbers.
    #[error("the model gave no finite logit after {tokens} tokens; its weights or the adapter are damaged")]
    NotFinite {
        /// Tokens generated before.
        tokens: u32,
    },
    /// No token fits the schema any more.
    #[error(
        "no token of the vocabulary fits the JSON schema after {tokens} tokens; use a model with byte tokens"
    )]
    GuideStuck {
        /// Tokens generated before.
        tokens: u32,
    },
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The system gave no thread.
    #[error("cannot start the generating thread: {reason}; check the limits on threads and memory")]
    Thread {
        /// What the system said.
        reason: String,
    },
    /// The generating thread is gone.
    #[error("text generation has ended; start the server again")]
    Ended,
}
