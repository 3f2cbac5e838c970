//! What a model at an endpoint understands: learned from refusals by one call at a time, then remembered.

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, MutexGuard as TurnGuard};

use super::ReplyMode;

/// Most likely tokens that are asked for at each place: OpenAI's and vLLM's limit, and what some gateways allow.
const TOP_LOGPROBS: [u8; 2] = [20, 5];

/// What a model at an endpoint understands, shared by all calls of the process.
#[derive(Debug, Default)]
pub(super) struct Dialect {
    known: Mutex<Known>,
    turn: Turn<()>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    spoken: Spoken,
    is_settled: bool,
}

/// What one request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spoken {
    /// What the reply is held to.
    pub(super) format: Format,
    /// The temperature is set.
    pub(super) temperature: bool,
    /// The limit on tokens is called `max_completion_tokens`.
    pub(super) newer_limit: bool,
    /// Likeliest tokens told at each place; 0 when log-probabilities are not told at all.
    pub(super) top_logprobs: u8,
}

/// What a reply is held to, from the strictest to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A schema, as OpenAI and vLLM have it.
    StrictSchema,
    /// A schema, as llama.cpp has it.
    PlainSchema,
    /// Any JSON object.
    JsonObject,
    /// Nothing.
    Text,
}

impl Default for Spoken {
    fn default() -> Self {
        let [top_logprobs, _] = TOP_LOGPROBS;
        Self { format: Format::StrictSchema, temperature: true, newer_limit: false, top_logprobs }
    }
}

impl Spoken {
    /// How the reply to such a request came about.
    pub(super) fn mode(self) -> ReplyMode {
        match self.format {
            Format::StrictSchema | Format::PlainSchema => ReplyMode::JsonSchema,
            Format::JsonObject => ReplyMode::JsonObject,
            Format::Text => ReplyMode::Text,
        }
    }

    /// What to ask with after a `refusal` of this; nothing when it names nothing that could be left out.
    fn without(mut self, refusal: &str) -> Option<(Self, &'static str)> {
        let refusal = refusal.to_lowercase();
        let names = |words: &[&str]| words.iter().any(|word| refusal.contains(word));
        let what = if names(&["logprobs"]) && self.top_logprobs > 0 {
            let less = TOP_LOGPROBS.into_iter().find(|top| *top < self.top_logprobs);
            self.top_logprobs = less.filter(|_| refusal.contains("top_logprobs")).unwrap_or(0);
            "so many log-probabilities"
        } else if names(&["response_format", "json_schema", "structured output"])
            && let Some(less) = self.format.less()
        {
            self.format = less;
            "the format of the reply"
        } else if !self.newer_limit && names(&["max_completion_tokens"]) {
            self.newer_limit = true;
            "the older name of the limit on tokens"
        } else if self.temperature && names(&["temperature"]) {
            self.temperature = false;
            "a temperature"
        } else {
            return None;
        };
        Some((self, what))
    }
}

impl Format {
    fn less(self) -> Option<Self> {
        match self {
            Self::StrictSchema => Some(Self::PlainSchema),
            Self::PlainSchema => Some(Self::JsonObject),
            Self::JsonObject => Some(Self::Text),
            Self::Text => None,
        }
    }
}

impl Dialect {
    /// What a request should use now.
    pub(super) fn current(&self) -> Spoken {
        self.known.lock().spoken
    }

    /// Waits until no other call finds out what is understood; nothing to wait for once that is known.
    pub(super) async fn turn(&self) -> Option<TurnGuard<'_, ()>> {
        if self.known.lock().is_settled {
            return None;
        }
        let turn = self.turn.lock().await;
        (!self.known.lock().is_settled).then_some(turn)
    }

    /// A request was understood, so that calls need no longer go one by one.
    pub(super) fn settle(&self) {
        self.known.lock().is_settled = true;
    }

    /// Learns from a refusal that names something of `spoken`; whether the request is worth asking in another way.
    pub(super) fn learn(&self, spoken: Spoken, refusal: &str) -> bool {
        let mut known = self.known.lock();
        if known.spoken != spoken {
            return true;
        }
        let Some((less, what)) = spoken.without(refusal) else { return false };
        known.spoken = less;
        tracing::warn!("the judge's endpoint refuses {what}; going on with less");
        true
    }
}
