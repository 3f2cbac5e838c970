//! The JSON of OpenAI's chat completions, as far as a judge needs it.

use serde::{Deserialize, Serialize};

use super::{
    Ask,
    dialect::{Format, Spoken},
};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u8>,
    stream: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat<'a> {
    JsonSchema {
        #[serde(skip_serializing_if = "Option::is_none")]
        json_schema: Option<NamedSchema<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        schema: Option<&'a Schema>,
    },
    JsonObject,
}

#[derive(Debug, Serialize)]
struct NamedSchema<'a> {
    name: &'static str,
    strict: bool,
    schema: &'a Schema,
}

impl<'a> ResponseFormat<'a> {
    fn new(format: Format, schema: &'a Schema) -> Option<Self> {
        let named = NamedSchema { name: "scores", strict: true, schema };
        match format {
            Format::StrictSchema => Some(Self::JsonSchema { json_schema: Some(named), schema: None }),
            Format::PlainSchema => Some(Self::JsonSchema { json_schema: None, schema: Some(schema) }),
            Format::JsonObject => Some(Self::JsonObject),
            Format::Text => None,
        }
    }
}

impl<'a> ChatRequest<'a> {
    /// The request for `ask`, in what the endpoint understands.
    pub(super) fn new(ask: &'a Ask<'_>, spoken: Spoken) -> Self {
        let top_logprobs = Some(spoken.top_logprobs).filter(|top| ask.logprobs && *top > 0);
        Self {
            model: ask.model,
            messages: ask.messages,
            temperature: spoken.temperature.then_some(ask.temperature),
            max_tokens: (!spoken.newer_limit).then_some(ask.max_tokens),
            max_completion_tokens: spoken.newer_limit.then_some(ask.max_tokens),
            response_format: ResponseFormat::new(spoken.format, ask.schema),
            logprobs: top_logprobs.is_some().then_some(true),
            top_logprobs,
            stream: false,
        }
    }
}

/// The body of its answer.
#[derive(Debug, Deserialize)]
pub(super) struct ChatResponse {
    #[serde(default)]
    id: Option<String>,
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
    #[serde(default)]
    logprobs: Option<ChoiceLogprobs>,
}

#[derive(Debug, Deserialize)]
struct ChoiceLogprobs {
    #[serde(default)]
    content: Option<Vec<WireLogprob>>,
}

#[derive(Debug, Deserialize)]
struct WireLogprob {
    token: String,
    logprob: f64,
    #[serde(default)]
    top_logprobs: Vec<TopLogprob>,
}

#[derive(Debug, Deserialize)]
struct TopLogprob {
    token: String,
    logprob: f64,
}

impl From<WireLogprob> for TokenLogprob {
    fn from(wire: WireLogprob) -> Self {
        let top = wire.top_logprobs.into_iter().map(|top| (top.token, top.logprob)).collect();
        Self { token: wire.token, logprob: wire.logprob, top }
    }
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// The endpoint's id of the reply, as on its bill.
    #[serde(default)]
    pub(crate) id: Option<String>,
    /// The text; empty when there is none.
    pub(crate) text: String,
    /// Why it ended.
    pub(crate) finish: Finish,
    /// What it was held to.
    pub(crate) mode: ReplyMode,
    /// The model that answered, in the endpoint's words.
    pub(crate) model: Option<String>,
    /// The endpoint's mark of its configuration.
    pub(crate) system_fingerprint: Option<String>,
    /// Tokens read and written.
    pub(crate) usage: Option<Usage>,
    /// How likely its tokens were, where that was asked for and the endpoint tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tokens_logprobs: Option<Vec<TokenLogprob>>,
}

/// How likely one token of a reply was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TokenLogprob {
    /// The token's text.
    pub(crate) token: String,
    /// Natural logarithm of its probability.
    pub(crate) logprob: f64,
    /// The likeliest tokens at its place with theirs, itself included as a rule.
    pub(crate) top: Vec<(String, f64)>,
}

/// Why a reply ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finish {
    /// The model ended it, or the endpoint does not say.
    Stop,
    /// The limit on tokens was reached.
    Length,
    /// The model refused, or a filter stopped it; with its words, if any.
    Refused(String),
}

/// What a reply was held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplyMode {
    /// A JSON schema.
    JsonSchema,
    /// Any JSON object.
    JsonObject,
    /// Nothing: free text.
    Text,
}

impl ChatResponse {
    /// Tokens read and written, where the endpoint tells them.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// The first choice. A response without one is an empty reply.
    pub(super) fn into_reply(self, mode: ReplyMode) -> Reply {
        let mut reply = Reply {
            id: self.id,
            text: String::new(),
            finish: Finish::Stop,
            mode,
            model: self.model,
            system_fingerprint: self.system_fingerprint,
            usage: self.usage,
            tokens_logprobs: None,
        };
        let Some(choice) = self.choices.into_iter().next() else { return reply };
        reply.finish = match (choice.message.refusal, choice.finish_reason.as_deref()) {
            (Some(refusal), _) if !refusal.is_empty() => Finish::Refused(refusal),
            (_, Some("content_filter")) => Finish::Refused("stopped by a content filter".to_owned()),
            (_, Some("length")) => Finish::Length,
            (_, Some(_) | None) => Finish::Stop,
        };
        reply.text = choice.message.content.unwrap_or_default();
        let told = choice.logprobs.and_then(|logprobs| logprobs.content);
        reply.tokens_logprobs = told.map(|tokens| tokens.into_iter().map(TokenLogprob::from).collect());
        reply
    }
}
