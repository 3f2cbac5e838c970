//! Text generation: one thread owns the decoder and continues all requests together, token by token.

mod batch;
mod error;
mod output;
mod sequence;
mod worker;

use std::sync::Arc;

use clara_lifecycle::answers::FinishReason;
use tokio::sync::{mpsc, oneshot};

pub use batch::{Batch, Ticket};
pub use error::TextError;

use crate::{
    engine::{AdapterWeights, Decoder},
    guided::Guide,
    model_cache::SharedModel,
    sampling::{Sampling, TokenLogprobs},
    token_texts::TokenTexts,
};
use worker::Command;

/// Requests that may wait for the thread before further ones are turned away.
const QUEUE: usize = 256;

/// What a model's texts are made of.
#[derive(Debug, Clone)]
pub struct TextModel {
    /// Texts of the tokens.
    pub vocabulary: Arc<TokenTexts>,
    /// Tokens that end an answer.
    pub end_tokens: Vec<u32>,
    /// Longest sequence, prompt and answer together, in tokens.
    pub context_length: usize,
}

/// How much is computed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Sequences that are continued together.
    pub sequences: usize,
    /// Tokens that all open sequences may reach together, each counted at its full length; bounds the cache in memory.
    pub cached_tokens: usize,
    /// Prompt tokens of one sequence per pass; longer prompts take several, so that running answers do not stall.
    pub prompt_tokens: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { sequences: 16, cached_tokens: 32_768, prompt_tokens: 256 }
    }
}

/// One text to continue.
#[derive(Debug, Clone)]
pub struct TextRequest {
    /// The prompt's tokens, at least one.
    pub prompt: Vec<u32>,
    /// The adapter to answer with; without one the base model answers.
    pub adapter: Option<String>,
    /// Longest answer in tokens, at least 1.
    pub max_tokens: u32,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the answer and are not part of it; none empty.
    pub stop: Vec<String>,
    /// The schema that the answer must fit.
    pub guide: Option<Guide>,
    /// Whether to report log-probabilities, and of how many rivals; with a guide they count only the tokens that fit.
    pub logprobs: Option<usize>,
}

/// What happens to a text while it is generated.
#[derive(Debug, Clone, PartialEq)]
pub enum TextEvent {
    /// One more token.
    Token(TokenEvent),
    /// The end; the last event.
    Finished(Finished),
    /// It could not be continued; the last event.
    Failed(TextError),
}

/// One generated token.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenEvent {
    /// The token.
    pub token: u32,
    /// Text that became certain with it; empty inside a character or a possible stop text.
    pub text: String,
    /// Its probability, where asked for.
    pub logprobs: Option<TokenLogprobs>,
}

/// How a text ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Text that was still held back.
    pub text: String,
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the answer, the end token not counted.
    pub completion_tokens: u32,
}

/// A handle to the generating thread; cheap to clone. The thread ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct TextEngine {
    commands: mpsc::Sender<Command>,
    model: TextModel,
}

/// A running generation; dropping it cancels the rest.
#[derive(Debug)]
pub struct Generation {
    events: mpsc::Receiver<TextEvent>,
}

impl TextEngine {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`TextError::Thread`] when the system gives no thread.
    pub fn start(
        decoder: Box<dyn Decoder>,
        model: TextModel,
        limits: BatchLimits,
    ) -> Result<Self, TextError> {
        let (commands, received) = mpsc::channel(QUEUE);
        let batch = Batch::new(decoder, model.clone(), limits);
        std::thread::Builder::new()
            .name("clara-text".into())
            .spawn(move || worker::run(batch, received))
            .map_err(|error| TextError::Thread { reason: error.to_string() })?;
        Ok(Self { commands, model })
    }

    /// Starts the thread over a base model without adapters.
    ///
    /// # Errors
    /// [`TextError::Engine`] when the engine refuses the model, [`TextError::Thread`] when the system gives no thread.
    pub fn for_model(model: &Arc<SharedModel>, limits: BatchLimits) -> Result<Self, TextError> {
        Self::start(model.decoder()?, model.text_model(), limits)
    }

    /// What the model's texts are made of.
    pub fn model(&self) -> &TextModel {
        &self.model
    }

    /// Begins to answer a request.
    ///
    /// # Errors
    /// [`TextError::EmptyPrompt`] or [`TextError::TooLong`] for a prompt that cannot be answered, [`TextError::Busy`] when
    /// too many requests wait, [`TextError::Ended`] when the thread is gone.
    pub fn generate(&self, request: TextRequest) -> Result<Generation, TextError> {
        self.model.check(&request)?;
        // Room for every event, so that a slow reader never holds up the other sequences.
        let room =
            usize::try_from(request.max_tokens).unwrap_or(usize::MAX).min(self.model.context_length) + 2;
        let (sender, events) = mpsc::channel(room);
        match self.commands.try_send(Command::Generate { request, events: sender }) {
            Ok(()) => Ok(Generation { events }),
            Err(mpsc::error::TrySendError::Full(_)) => Err(TextError::Busy { waiting: QUEUE }),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(TextError::Ended),
        }
    }

    /// Makes an adapter available under `name`.
    ///
    /// # Errors
    /// [`TextError::Engine`] when the adapter does not fit the model or is in use, [`TextError::Ended`] when the thread is gone.
    pub async fn add_adapter(&self, name: &str, weights: AdapterWeights) -> Result<(), TextError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::AddAdapter { name: name.to_owned(), weights: Box::new(weights), reply }).await?;
        answer.await.map_err(|_| TextError::Ended)?
    }

    /// Forgets an adapter.
    ///
    /// # Errors
    /// [`TextError::Engine`] when it is unknown or in use, [`TextError::Ended`] when the thread is gone.
    pub async fn remove_adapter(&self, name: &str) -> Result<(), TextError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::RemoveAdapter { name: name.to_owned(), reply }).await?;
        answer.await.map_err(|_| TextError::Ended)?
    }

    async fn send(&self, command: Command) -> Result<(), TextError> {
        self.commands.send(command).await.map_err(|_| TextError::Ended)
    }
}

impl Generation {
    /// The next event; `None` after the last one. Cancellation safe.
    pub async fn next(&mut self) -> Option<TextEvent> {
        self.events.recv().await
    }

    /// The next event for callers outside of async code; `None` after the last one.
    pub fn next_blocking(&mut self) -> Option<TextEvent> {
        self.events.blocking_recv()
    }
}

impl TextModel {
    /// Whether a request can be answered at all.
    ///
    /// # Errors
    /// [`TextError::EmptyPrompt`], or [`TextError::TooLong`] when prompt and answer together exceed the context.
    pub fn check(&self, request: &TextRequest) -> Result<(), TextError> {
        if request.prompt.is_empty() {
            return Err(TextError::EmptyPrompt);
        }
        let max_tokens = usize::try_from(request.max_tokens).unwrap_or(usize::MAX);
        if request.prompt.len().saturating_add(max_tokens) > self.context_length {
            return Err(TextError::TooLong {
                prompt_tokens: request.prompt.len(),
                max_tokens,
                context_length: self.context_length,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
