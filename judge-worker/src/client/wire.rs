//! The JSON of OpenAI's chat completions, as far as a judge needs it.

use serde::{Deserialize, Serialize};

use super::{Ask, dialect::Spoken};
use crate::prompt::{Message, Schema};

/// The body of `POST /chat/completions`.
#[derive(Debug, Serialize)]
pub(super) struct ChatRequest<'a> {
    model: &'a str,
    messages: &'a [Message],
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
    stream: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat<'a> {
    JsonSchema { json_schema: NamedSchema<'a> },
}

#[derive(Debug, Serialize)]
struct NamedSchema<'a> {
    name: &'static str,
    strict: bool,
    schema: &'a Schema,
}

impl<'a> ChatRequest<'a> {
    /// The request for `ask`, in what the endpoint understands.
    pub(super) fn new(ask: &'a Ask<'_>, spoken: Spoken) -> Self {
        let schema = NamedSchema { name: "scores", strict: true, schema: ask.schema };
        Self {
            model: ask.model,
            messages: ask.messages,
            temperature: spoken.temperature.then_some(0.0),
            max_tokens: (!spoken.newer_limit).then_some(ask.max_tokens),
            max_completion_tokens: spoken.newer_limit.then_some(ask.max_tokens),
            response_format: spoken.schema.then_some(ResponseFormat::JsonSchema { json_schema: schema }),
            stream: false,
        }
    }
}

/// The body of its answer.
#[derive(Debug, Deserialize)]
pub(super) struct ChatResponse {
    choices: Vec<Choice>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    system_fingerprint: Option<String>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    message: ReplyMessage,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ReplyMessage {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Tokens read.
    #[serde(default)]
    pub(crate) prompt_tokens: u64,
    /// Tokens written.
    #[serde(default)]
    pub(crate) completion_tokens: u64,
}

/// The answer of `GET /models`.
#[derive(Debug, Deserialize)]
pub(super) struct ModelList {
    pub(super) data: Vec<ListedModel>,
}

/// One listed model.
#[derive(Debug, Deserialize)]
pub(super) struct ListedModel {
    pub(super) id: String,
}

/// What a judge replied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Reply {
    /// The text; empty when there is none.
    pub(crate) text: String,
    /// Why it ended.
    pub(crate) finish: Finish,
    /// Whether it was held to a schema.
    pub(crate) mode: ReplyMode,
    /// The model that answered, in the endpoint's words.
    pub(crate) model: Option<String>,
    /// The endpoint's mark of its configuration.
    pub(crate) system_fingerprint: Option<String>,
    /// Tokens read and written.
    pub(crate) usage: Option<Usage>,
}

/// Why a reply ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finish {
    /// The model ended it, or the endpoint does not say.
    Stop,
    /// The limit on tokens was reached.
    Length,
    /// The model refused, or a filter stopped it; with its words, if any.
    Refused(String),
}

/// How a reply came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplyMode {
    /// Held to a JSON schema.
    JsonSchema,
    /// Free text.
    Text,
}

impl ChatResponse {
    /// The first choice. A response without one is an empty reply.
    pub(super) fn into_reply(self, mode: ReplyMode) -> Reply {
        let first = self.choices.into_iter().next();
        let (text, finish) = first.map_or((String::new(), Finish::Stop), |choice| {
            let finish = match (choice.message.refusal, choice.finish_reason.as_deref()) {
                (Some(refusal), _) if !refusal.is_empty() => Finish::Refused(refusal),
                (_, Some("content_filter")) => Finish::Refused("stopped by a content filter".to_owned()),
                (_, Some("length")) => Finish::Length,
                (_, Some(_) | None) => Finish::Stop,
            };
            (choice.message.content.unwrap_or_default(), finish)
        });
        Reply {
            text,
            finish,
            mode,
            model: self.model,
            system_fingerprint: self.system_fingerprint,
            usage: self.usage,
        }
    }
}
