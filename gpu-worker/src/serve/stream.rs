//! Sends an answer while it is generated, as server-sent events.

use std::{convert::Infallible, sync::Arc};

use axum::response::{
    IntoResponse,
    sse::{Event, KeepAlive, Sse},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::{
    error::ApiError,
    request::ChatRequest,
    response::{Heading, finish_reason, token_logprobs, usage},
    state::Service,
};
use crate::text::{Finished, Generation, TextError, TextEvent, TokenEvent};

/// An answer on its way.
struct Streaming {
    service: Arc<Service>,
    heading: Heading,
    generation: Generation,
    include_usage: bool,
}

/// Sends the answer in parts, then `[DONE]`; an error after the start is sent as a part of its own.
pub(super) fn parts(
    service: Arc<Service>,
    request: &ChatRequest,
    generation: Generation,
) -> impl IntoResponse + use<> {
    let heading = Heading::new(&service, &request.model);
    let streaming = Streaming { service, heading, generation, include_usage: request.include_usage };
    let opening = streaming.part(&json!({ "role": "assistant", "content": "", "refusal": null }), None, None);
    let rest = stream::unfold(Some(streaming), |streaming| async move {
        let mut streaming = streaming?;
        let (parts, goes_on) = streaming.next().await;
        Some((stream::iter(parts), goes_on.then_some(streaming)))
    });
    let events = stream::iter([opening.to_string()]).chain(rest.flatten());
    Sse::new(events.map(|part| Ok::<_, Infallible>(Event::default().data(part))))
        .keep_alive(KeepAlive::default())
}

impl Streaming {
    /// The parts that the next event gives, and whether more follow.
    async fn next(&mut self) -> (Vec<String>, bool) {
        match self.generation.next().await {
            Some(TextEvent::Token(token)) => (self.token(&token), true),
            Some(TextEvent::Finished(finished)) => (self.finished(&finished), false),
            Some(TextEvent::Failed(error)) => (failed(error), false),
            None => (failed(TextError::Ended), false),
        }
    }

    fn token(&self, token: &TokenEvent) -> Vec<String> {
        let logprobs = token_logprobs(token, &self.service.engine.model().vocabulary);
        if token.text.is_empty() && logprobs.is_none() {
            return Vec::new();
        }
        let logprobs = logprobs.map(|entry| json!({ "content": [entry], "refusal": null }));
        vec![self.part(&json!({ "content": token.text }), logprobs.as_ref(), None).to_string()]
    }

    fn finished(&self, finished: &Finished) -> Vec<String> {
        let mut parts = Vec::new();
        if !finished.text.is_empty() {
            parts.push(self.part(&json!({ "content": finished.text }), None, None).to_string());
        }
        parts.push(self.part(&json!({}), None, Some(finish_reason(finished.reason))).to_string());
        if self.include_usage {
            parts.push(self.heading.chunk(&[], Some(usage(finished))).to_string());
        }
        parts.push("[DONE]".to_owned());
        parts
    }

    fn part(&self, delta: &Value, logprobs: Option<&Value>, finish_reason: Option<&str>) -> Value {
        let choice =
            json!({ "index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason });
        // Every part but the last names `usage` when it was asked for, as clients expect.
        self.heading.chunk(&[choice], self.include_usage.then_some(Value::Null))
    }
}

fn failed(error: TextError) -> Vec<String> {
    vec![ApiError::from(error).body().to_string()]
}
