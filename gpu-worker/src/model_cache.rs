//! One copy of each base model for each way to hold it, shared by training, generation and serving in one process.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use clara_lifecycle::dataset::ChatMessage;
use parking_lot::Mutex;

use crate::{
    devices::Devices,
    engine::{Decoder, EngineError},
    model::{self, BaseModel, ModelError, Precision},
    template::{ChatTemplate, TemplateError},
    text::{BatchLimits, TextModel},
    token_texts::TokenTexts,
    tokenizer::{Tokenizer, TokenizerError},
};

/// A base model that several users hold together.
#[derive(Debug)]
pub struct SharedModel {
    /// Configuration and weights.
    pub base: Arc<BaseModel>,
    /// Turns text into tokens and back.
    pub tokenizer: Tokenizer,
    /// Turns conversations into text.
    pub chat_template: ChatTemplate,
    devices: Devices,
}

/// Why a conversation gives no prompt.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The chat template refused it.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The tokenizer refused it.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl SharedModel {
    /// The tokens of a conversation, up to where the assistant's next turn begins.
    ///
    /// # Errors
    /// [`PromptError`] when template or tokenizer refuse the conversation.
    pub fn chat_prompt(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, PromptError> {
        let text = self.chat_template.render(messages, true)?;
        Ok(self.tokenizer.encode(&text)?)
    }

    /// What the model's texts are made of.
    pub fn text_model(self: &Arc<Self>) -> TextModel {
        let mut end_tokens = self.tokenizer.eos().to_vec();
        end_tokens.extend(&self.base.config.eos_tokens);
        end_tokens.sort_unstable();
        end_tokens.dedup();
        TextModel {
            vocabulary: Arc::new(TokenTexts::of(self)),
            end_tokens,
            context_length: self.base.config.max_positions,
        }
    }

    /// A decoder over the model, where it can: on the GPU if there is one that can, else on the CPU.
    ///
    /// # Errors
    /// [`EngineError`] when the engine refuses the model.
    pub fn decoder(&self) -> Result<Box<dyn Decoder>, EngineError> {
        self.devices.decoder(&self.base)
    }

    /// Limits for `sequences` texts at once whose keys and values may take `cache_bytes` in memory.
    pub fn limits(&self, sequences: usize, cache_bytes: usize) -> BatchLimits {
        let config = &self.base.config;
        // A key and a value in f32 per layer.
        let token_bytes = 2 * size_of::<f32>() * config.layers * config.key_value_heads * config.head_dim;
        BatchLimits { sequences, cached_tokens: cache_bytes / token_bytes.max(1), ..BatchLimits::default() }
    }
}

/// Loads base models and remembers those still in use; cheap to clone, all clones are one cache.
#[derive(Debug, Clone, Default)]
pub struct ModelCache {
    devices: Devices,
    models: Arc<Mutex<BTreeMap<(PathBuf, Precision), Slot>>>,
}

/// One model's place; its lock is held while the model loads, so that it never loads twice at once.
type Slot = Arc<Mutex<Weak<SharedModel>>>;

impl ModelCache {
    /// An empty cache for a process that computes on the CPU.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty cache for a process with these devices.
    pub fn on(devices: Devices) -> Self {
        Self { devices, ..Self::default() }
    }

    /// What there is to compute on.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The model at `path`, loaded when nobody holds it. Blocks while it loads.
    ///
    /// # Errors
    /// [`ModelError`] as [`model::load`]; a failed load is tried again by the next caller.
    pub fn load(&self, path: &Path, precision: Precision) -> Result<Arc<SharedModel>, ModelError> {
        let key = (path.canonicalize().unwrap_or_else(|_| path.to_owned()), precision);
        let slot = Arc::clone(self.models.lock().entry(key).or_default());
        let mut held = slot.lock();
        if let Some(model) = held.upgrade() {
            return Ok(model);
        }
        let loaded = model::load(path, precision)?;
        let model = Arc::new(SharedModel {
            base: Arc::new(loaded.base),
            tokenizer: loaded.tokenizer,
            chat_template: loaded.chat_template,
            devices: self.devices.clone(),
        });
        *held = Arc::downgrade(&model);
        Ok(model)
    }
}

#[cfg(test)]
mod tests;
