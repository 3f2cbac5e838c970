//! What an endpoint understands, learned from its refusals and remembered.

use std::sync::atomic::{AtomicBool, Ordering};

use super::ReplyMode;

/// What an endpoint understands, shared by all calls.
#[derive(Debug, Default)]
pub(super) struct Dialect {
    no_schema: AtomicBool,
    no_temperature: AtomicBool,
    newer_limit: AtomicBool,
}

/// What one request uses of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spoken {
    /// The reply is held to a schema.
    pub(super) schema: bool,
    /// The temperature is set to 0.
    pub(super) temperature: bool,
    /// The limit on tokens is called `max_completion_tokens`.
    pub(super) newer_limit: bool,
}

impl Spoken {
    /// How the reply to such a request came about.
    pub(super) fn mode(self) -> ReplyMode {
        if self.schema { ReplyMode::JsonSchema } else { ReplyMode::Text }
    }
}

impl Dialect {
    /// What a request should use now.
    pub(super) fn current(&self) -> Spoken {
        Spoken {
            schema: !self.no_schema.load(Ordering::Relaxed),
            temperature: !self.no_temperature.load(Ordering::Relaxed),
            newer_limit: self.newer_limit.load(Ordering::Relaxed),
        }
    }

    /// Learns from a refusal that names something of `spoken`; whether there was something to learn, so that
    /// the request is worth asking in another way.
    pub(super) fn learn(&self, spoken: Spoken, refusal: &str) -> bool {
        let refusal = refusal.to_lowercase();
        let names = |words: &[&str]| words.iter().any(|word| refusal.contains(word));
        let learned = if spoken.schema && names(&["response_format", "json_schema", "structured output"]) {
            Some((&self.no_schema, "replies held to a schema"))
        } else if !spoken.newer_limit && names(&["max_completion_tokens"]) {
            Some((&self.newer_limit, "the older name of the limit on tokens"))
        } else if spoken.temperature && names(&["temperature"]) {
            Some((&self.no_temperature, "a temperature"))
        } else {
            None
        };
        let Some((flag, what)) = learned else { return false };
        if !flag.swap(true, Ordering::Relaxed) {
            tracing::warn!("the judge's endpoint refuses {what}; going on without");
        }
        true
    }
}
