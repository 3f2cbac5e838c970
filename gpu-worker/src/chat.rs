//! A conversation with a base model or an adapter, line by line.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, Write},
    path::PathBuf,
    sync::Arc,
};

use clara_lifecycle::dataset::ChatMessage;

use crate::{
    model::{ModelError, Precision},
    model_cache::{ModelCache, PromptError, SharedModel},
    peft::{self, PeftError},
    sampling::Sampling,
    text::{BatchLimits, TextEngine, TextError, TextEvent, TextRequest},
};

const HELP: &str = "/adapter NAME answers with an adapter, /adapter with the base model, /reset forgets the conversation, /quit ends";

/// Who talks, and how.
#[derive(Debug, Clone)]
pub struct ChatConfig {
    /// Hugging Face folder or GGUF file of the base model.
    pub base_model: PathBuf,
    /// How it is held; adapters of QLoRA want four bits.
    pub precision: Precision,
    /// Adapters by name, with their PEFT folders.
    pub adapters: Vec<(String, PathBuf)>,
    /// The adapter that answers first; without one the base model answers.
    pub adapter: Option<String>,
    /// Text of the system turn.
    pub system_prompt: Option<String>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Longest answer in tokens.
    pub max_tokens: u32,
}

/// Why a conversation cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The base model cannot be loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An adapter cannot be read.
    #[error("cannot load adapter {name}: {source}")]
    Adapter {
        /// Its name.
        name: String,
        /// What is wrong with the folder.
        source: PeftError,
    },
    /// An adapter that was not loaded.
    #[error("no adapter named {name} is loaded; loaded are: {loaded}")]
    UnknownAdapter {
        /// The name asked for.
        name: String,
        /// The names there are.
        loaded: String,
    },
    /// The conversation gives no prompt.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// Text cannot be generated.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Input or output failed.
    #[error("cannot read the question or write the answer: {0}")]
    Io(#[from] io::Error),
    /// Loading was cut off.
    #[error("loading was cut off: {reason}")]
    CutOff {
        /// What happened.
        reason: String,
    },
}

/// A conversation. Its methods block: call them outside of async code.
#[derive(Debug)]
pub struct Chat {
    model: Arc<SharedModel>,
    engine: TextEngine,
    adapters: BTreeSet<String>,
    adapter: Option<String>,
    sampling: Sampling,
    max_tokens: u32,
    system: Option<ChatMessage>,
    turns: Vec<ChatMessage>,
}

/// Loads the models and begins an empty conversation.
///
/// # Errors
/// [`ChatError`] names the model or adapter that cannot be used.
pub async fn open(config: ChatConfig, cache: &ModelCache) -> Result<Chat, ChatError> {
    let (cache, base_model, adapters) = (cache.clone(), config.base_model.clone(), config.adapters.clone());
    let precision = config.precision;
    let loading = tokio::task::spawn_blocking(move || {
        let model = cache.load(&base_model, precision)?;
        let engine = TextEngine::for_model(&model, BatchLimits::default())?;
        let mut weights = Vec::with_capacity(adapters.len());
        for (name, folder) in adapters {
            match peft::read(&folder, &model.base.config) {
                Ok(read) => weights.push((name, read)),
                Err(source) => return Err(ChatError::Adapter { name, source }),
            }
        }
        Ok((model, engine, weights))
    });
    let loaded = loading.await.map_err(|error| ChatError::CutOff { reason: error.to_string() })?;
    let (model, engine, weights) = loaded?;
    let mut chat = Chat {
        model,
        engine,
        adapters: BTreeSet::new(),
        adapter: None,
        sampling: config.sampling,
        max_tokens: config.max_tokens,
        system: config.system_prompt.map(|text| turn("system", text)),
        turns: Vec::new(),
    };
    for (name, weights) in weights {
        chat.engine.add_adapter(&name, weights).await?;
        chat.adapters.insert(name);
    }
    chat.choose_adapter(config.adapter)?;
    Ok(chat)
}

impl Chat {
    /// Asks one question and writes the answer to `out` while it is generated, with a line end behind it.
    ///
    /// # Errors
    /// [`ChatError`]; the question is then not part of the conversation.
    pub fn ask(&mut self, question: &str, out: &mut dyn Write) -> Result<(), ChatError> {
        self.turns.push(turn("user", question.to_owned()));
        match self.answer(out) {
            Ok(answer) => {
                self.turns.push(turn("assistant", answer));
                Ok(())
            }
            Err(error) => {
                self.turns.pop();
                Err(error)
            }
        }
    }

    /// Reads questions and commands line by line until `/quit` or the end; answers go to `out`, all else to `talk`.
    ///
    /// # Errors
    /// [`ChatError::Io`]; other failures are written to `talk`, and the conversation goes on.
    pub fn converse(
        &mut self,
        input: &mut dyn BufRead,
        out: &mut dyn Write,
        talk: &mut dyn Write,
    ) -> Result<(), ChatError> {
        writeln!(talk, "{HELP}")?;
        let mut line = String::new();
        loop {
            write!(talk, "{}> ", self.adapter.as_deref().unwrap_or(&self.model.base.name))?;
            talk.flush()?;
            line.clear();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let outcome = match line.trim() {
                "" => Ok(()),
                "/quit" => return Ok(()),
                "/reset" => {
                    self.turns.clear();
                    Ok(())
                }
                "/adapter" => self.choose_adapter(None),
                command if command.starts_with("/adapter ") => {
                    let name = command.trim_start_matches("/adapter ").trim();
                    self.choose_adapter(Some(name.to_owned()))
                }
                command if command.starts_with('/') => {
                    Ok(writeln!(talk, "unknown command {command}; {HELP}")?)
                }
                question => self.ask(question, out),
            };
            match outcome {
                Ok(()) => {}
                Err(ChatError::Io(error)) => return Err(error.into()),
                Err(ChatError::Text(error @ TextError::TooLong { .. })) => {
                    writeln!(talk, "{error}; /reset begins a new conversation")?;
                }
                Err(error) => writeln!(talk, "{error}")?,
            }
        }
    }

    fn choose_adapter(&mut self, name: Option<String>) -> Result<(), ChatError> {
        if let Some(name) = name.as_ref().filter(|name| !self.adapters.contains(*name)) {
            let names: Vec<&str> = self.adapters.iter().map(String::as_str).collect();
            let loaded = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(ChatError::UnknownAdapter { name: name.clone(), loaded });
        }
        self.adapter = name;
        Ok(())
    }

    fn answer(&self, out: &mut dyn Write) -> Result<String, ChatError> {
        let messages: Vec<ChatMessage> = self.system.iter().chain(&self.turns).cloned().collect();
        let prompt = self.model.chat_prompt(&messages)?;
        let room = self.engine.model().context_length.saturating_sub(prompt.len());
        let max_tokens = self.max_tokens.min(u32::try_from(room).unwrap_or(u32::MAX)).max(1);
        let mut generation = self.engine.generate(TextRequest {
            prompt,
            adapter: self.adapter.clone(),
            max_tokens,
            sampling: self.sampling,
            stop: Vec::new(),
            guide: None,
            logprobs: None,
        })?;
        let mut answer = String::new();
        loop {
            let (piece, is_last) = match generation.next_blocking() {
                Some(TextEvent::Token(token)) => (token.text, false),
                Some(TextEvent::Finished(finished)) => (finished.text, true),
                Some(TextEvent::Failed(error)) => return Err(error.into()),
                None => return Err(TextError::Ended.into()),
            };
            out.write_all(piece.as_bytes())?;
            answer.push_str(&piece);
            if is_last {
                writeln!(out)?;
                out.flush()?;
                return Ok(answer);
            }
            out.flush()?;
        }
    }
}

fn turn(role: &str, content: String) -> ChatMessage {
    ChatMessage { role: role.to_owned(), content }
}

#[cfg(test)]
mod tests;
