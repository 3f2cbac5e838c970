//! The bodies of chat replies, whole or in parts.

use axum::{Json, response::IntoResponse};
use clara_lifecycle::answers::FinishReason;
use serde_json::{Value, json};

use super::{error::ApiError, request::ChatRequest, state::Service};
use crate::{
    sampling::TokenLogprobs,
    text::{Finished, Generation, TextError, TextEvent, TokenEvent},
    token_texts::TokenTexts,
};

/// What all parts of one reply share.
#[derive(Debug, Clone)]
pub(super) struct Heading {
    id: String,
    created: i64,
    model: String,
    fingerprint: String,
}

impl Heading {
    pub(super) fn new(service: &Service, model: &str) -> Self {
        let digest = service.model.base.digest.get(..12).unwrap_or_default();
        Self {
            id: format!("chatcmpl-{}-{}", service.started_at(), service.next_answer()),
            created: service.now(),
            model: model.to_owned(),
            fingerprint: format!("fp_{digest}"),
        }
    }

    /// A whole reply.
    fn completion(&self, choice: &Value, usage: &Value) -> Value {
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "system_fingerprint": self.fingerprint, "choices": [choice], "usage": usage,
        })
    }

    /// A part of a streamed reply; `usage` is left out where it was not asked for.
    pub(super) fn chunk(&self, choices: &[Value], usage: Option<Value>) -> Value {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "system_fingerprint": self.fingerprint, "choices": choices,
        });
        if let (Some(usage), Some(members)) = (usage, chunk.as_object_mut()) {
            members.insert("usage".to_owned(), usage);
        }
        chunk
    }
}

/// Waits for the whole answer.
pub(super) async fn whole(
    service: &Service,
    request: ChatRequest,
    mut generation: Generation,
) -> Result<impl IntoResponse + use<>, ApiError> {
    let heading = Heading::new(service, &request.model);
    let vocabulary = &service.engine.model().vocabulary;
    let (mut text, mut logprobs) = (String::new(), Vec::new());
    let finished = loop {
        match generation.next().await {
            Some(TextEvent::Token(token)) => {
                text.push_str(&token.text);
                logprobs.extend(token_logprobs(&token, vocabulary));
            }
            Some(TextEvent::Finished(finished)) => break finished,
            Some(TextEvent::Failed(error)) => return Err(error.into()),
            None => return Err(TextError::Ended.into()),
        }
    };
    text.push_str(&finished.text);
    let choice = json!({
        "index": 0,
        "message": { "role": "assistant", "content": text, "refusal": null },
        "logprobs": request.text.logprobs.map(|_| json!({ "content": logprobs, "refusal": null })),
        "finish_reason": finish_reason(finished.reason),
    });
    Ok(Json(heading.completion(&choice, &usage(&finished))))
}

/// The log-probabilities of a token, where they were asked for.
pub(super) fn token_logprobs(token: &TokenEvent, vocabulary: &TokenTexts) -> Option<Value> {
    let TokenLogprobs { chosen, top } = token.logprobs.as_ref()?;
    let mut entry = token_entry(token.token, *chosen, vocabulary);
    let rivals: Vec<Value> =
        top.iter().map(|(token, logprob)| token_entry(*token, *logprob, vocabulary)).collect();
    if let Some(members) = entry.as_object_mut() {
        members.insert("top_logprobs".to_owned(), rivals.into());
    }
    Some(entry)
}

pub(super) fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

pub(super) fn usage(finished: &Finished) -> Value {
    json!({
        "prompt_tokens": finished.prompt_tokens,
        "completion_tokens": finished.completion_tokens,
        "total_tokens": finished.prompt_tokens.saturating_add(finished.completion_tokens),
    })
}

fn token_entry(token: u32, logprob: f32, vocabulary: &TokenTexts) -> Value {
    let bytes = vocabulary.bytes(token);
    // JSON has no infinity; a probability of nothing is far below any that is told apart.
    json!({ "token": String::from_utf8_lossy(bytes), "logprob": logprob.max(-9_999.0), "bytes": bytes })
}
