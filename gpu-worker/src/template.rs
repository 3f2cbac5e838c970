//! Renders conversations with a model's chat template, as Hugging Face does, and finds the assistant's turns.

mod environment;

use std::ops::Range;

use clara_lifecycle::dataset::ChatMessage;
use minijinja::{Environment, Value, context, value::Serde};
use serde::Serialize;

use crate::tokenizer::Tokenizer;

/// Used where a model has no template of its own.
const CHAT_ML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] \
     + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const NAME: &str = "chat_template";

/// A chat template, ready to render.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: Option<String>,
    eos_token: Option<String>,
    is_fallback: bool,
}

/// A rendered conversation with what the assistant says in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedChat {
    /// The text.
    pub text: String,
    /// Bytes of `text` that the assistant writes, end-of-turn marks included, in order.
    pub assistant: Vec<Range<usize>>,
}

/// Why a conversation cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The template is not valid.
    #[error("the chat template cannot be parsed")]
    Parse {
        /// What the parser said.
        source: minijinja::Error,
    },
    /// The template refused the conversation, or failed.
    #[error("the chat template refused a conversation of {messages} messages")]
    Render {
        /// Number of messages.
        messages: usize,
        /// What the template said.
        source: minijinja::Error,
    },
    /// A longer conversation does not start with the text of a shorter one, so turns cannot be told apart.
    #[error(
        "the chat template renders the first {messages} messages differently once more follow; \
         the assistant's turns cannot be told apart. Train on prompt/completion records instead"
    )]
    NotAPrefix {
        /// How many messages the shorter conversation has.
        messages: usize,
    },
}

impl ChatTemplate {
    /// Parses `source`; without one, `ChatML` is used.
    ///
    /// # Errors
    /// [`TemplateError::Parse`].
    pub fn new(source: Option<&str>, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        let parse = |source| TemplateError::Parse { source };
        let mut environment = environment::hugging_face().map_err(parse)?;
        let source_text = environment::without_generation_marks(source.unwrap_or(CHAT_ML));
        environment.add_template_owned(NAME, source_text).map_err(parse)?;
        Ok(Self {
            environment,
            bos_token: tokenizer.bos().and_then(|id| tokenizer.token_text(id)),
            eos_token: tokenizer.eos().first().and_then(|id| tokenizer.token_text(*id)),
            is_fallback: source.is_none(),
        })
    }

    /// Whether the model brought no template and `ChatML` is used instead.
    pub fn is_fallback(&self) -> bool {
        self.is_fallback
    }

    /// The text of a conversation; with `add_generation_prompt` up to where the assistant's next turn begins.
    ///
    /// # Errors
    /// [`TemplateError::Render`].
    pub fn render<T: Serialize>(
        &self,
        messages: &[T],
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        let failed = |source| TemplateError::Render { messages: messages.len(), source };
        let template = self.environment.get_template(NAME).map_err(failed)?;
        let turns = Value::from(Serde(messages));
        let token = |text: &Option<String>| text.as_deref().map_or(Value::UNDEFINED, Value::from);
        let values = context! {
            messages => turns,
            add_generation_prompt,
            bos_token => token(&self.bos_token),
            eos_token => token(&self.eos_token),
        };
        template.render(values).map_err(failed)
    }

    /// The text of a whole conversation and where the assistant's turns lie in it.
    ///
    /// A turn goes from the end of the generation prompt to the end of the turn without the blanks that follow its mark.
    ///
    /// # Errors
    /// [`TemplateError::Render`]; [`TemplateError::NotAPrefix`] when the template changes earlier turns.
    pub fn render_turns(&self, messages: &[ChatMessage]) -> Result<RenderedChat, TemplateError> {
        let text = self.render(messages, false)?;
        let mut assistant = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            if message.role != "assistant" {
                continue;
            }
            let before = messages.get(..index).unwrap_or_default();
            let with_turn = messages.get(..=index).unwrap_or_default();
            let start = self.prefix_length(&text, before, true)?;
            let end = self.prefix_length(&text, with_turn, false)?;
            let turn = text.get(start..end).ok_or(TemplateError::NotAPrefix { messages: index })?;
            assistant.push(start..start + turn.trim_end().len());
        }
        Ok(RenderedChat { text, assistant })
    }

    fn prefix_length(
        &self,
        text: &str,
        messages: &[ChatMessage],
        prompt: bool,
    ) -> Result<usize, TemplateError> {
        let prefix = self.render(messages, prompt)?;
        if text.starts_with(&prefix) {
            return Ok(prefix.len());
        }
        Err(TemplateError::NotAPrefix { messages: messages.len() })
    }
}

#[cfg(test)]
mod tests;
