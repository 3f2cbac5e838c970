//! A judge as a busy provider on a bad day: refusals, failures and bad replies by a seed, a rate limit, and a bill.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use clara_lifecycle::statistics::SplitMix64;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

/// How long a reply takes.
const LATENCY: Duration = Duration::from_millis(20);
/// Requests that may come at once after a rest, in seconds of the rate.
const BURST_SECONDS: f64 = 1.0;

/// How a replaying judge behaves. Shares are of all requests within the rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replay {
    /// Decides who is refused, fails or gets a bad reply.
    pub seed: u64,
    /// Requests per second that are let in; others get `429`.
    pub per_second: f64,
    /// Share that gets `429` all the same, every second one with `Retry-After`.
    pub busy: f64,
    /// Share that gets `503`.
    pub failing: f64,
    /// Share that gets a malformed reply, or one that is cut off.
    pub bad: f64,
    /// The score of good replies, 0 to 5.
    pub score: u8,
}

/// What was served.
#[derive(Debug, Clone, Default)]
pub struct Bill {
    /// Requests of every kind.
    pub requests: u32,
    /// Requests above the rate.
    pub above_rate: u32,
    /// `429` by chance.
    pub busy: u32,
    /// `503`.
    pub failing: u32,
    /// Malformed replies and those that were cut off.
    pub bad: u32,
    /// Tokens read and written by the id of the reply; only what was sent off is billed.
    pub replies: BTreeMap<String, (u64, u64)>,
    /// From the first request to the last.
    pub took: Duration,
}

/// A replaying judge at work.
#[derive(Debug)]
pub(super) struct Replaying {
    replay: Replay,
    state: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    bill: Bill,
    began: Option<Instant>,
    room: f64,
    looked: Option<Instant>,
}

enum Fate {
    AboveRate,
    Busy(bool),
    Failing,
    Malformed,
    CutOff,
    Good,
}

impl Replaying {
    pub(super) fn new(replay: Replay) -> Self {
        Self { replay, state: Mutex::default() }
    }

    pub(super) fn bill(&self) -> Bill {
        self.state.lock().bill.clone()
    }

    /// The number of the request and what becomes of it.
    fn decide(&self) -> (u32, Fate) {
        let Replay { seed, per_second, busy, failing, bad, .. } = self.replay;
        let mut state = self.state.lock();
        let now = Instant::now();
        let began = *state.began.get_or_insert(now);
        state.bill.took = now - began;
        state.bill.requests += 1;
        let number = state.bill.requests;
        let rested = state.looked.replace(now).map_or(BURST_SECONDS, |looked| (now - looked).as_secs_f64());
        state.room = (state.room + rested * per_second).min(per_second * BURST_SECONDS);
        if state.room < 1.0 {
            state.bill.above_rate += 1;
            return (number, Fate::AboveRate);
        }
        state.room -= 1.0;
        let mut random = SplitMix64::new(seed ^ (u64::from(number) << 32));
        let (chance, even) = (random.unit(), random.unit() < 0.5);
        let fate = if chance < busy {
            state.bill.busy += 1;
            Fate::Busy(even)
        } else if chance < busy + failing {
            state.bill.failing += 1;
            Fate::Failing
        } else if chance < busy + failing + bad {
            state.bill.bad += 1;
            if even { Fate::Malformed } else { Fate::CutOff }
        } else {
            Fate::Good
        };
        (number, fate)
    }
}

/// Answers one request.
pub(super) async fn reply(State(replaying): State<Arc<Replaying>>, Json(request): Json<Value>) -> Response {
    let (number, fate) = replaying.decide();
    let limited = |pause: &'static str| {
        (StatusCode::TOO_MANY_REQUESTS, [("retry-after-ms", pause)], "slow down").into_response()
    };
    let score = replaying.replay.score;
    let good = json!({ "scores": {
        "accuracy": score, "relevance": score, "style": score, "completeness": score, "coherence": score,
    }})
    .to_string();
    let (content, finish) = match fate {
        Fate::AboveRate => return limited("100"),
        Fate::Busy(true) => return limited("150"),
        Fate::Busy(false) => return (StatusCode::TOO_MANY_REQUESTS, "slow down").into_response(),
        Fate::Failing => return (StatusCode::SERVICE_UNAVAILABLE, "overloaded").into_response(),
        Fate::Malformed => ("Die Antwort verdient: accuracy=".to_owned(), "stop"),
        Fate::CutOff => (good.chars().take(good.len() / 2).collect(), "length"),
        Fate::Good => (good, "stop"),
    };
    tokio::time::sleep(LATENCY).await;
    // A request whose caller is gone does not come this far.
    let prompt = request.get("messages").map_or(0, |messages| messages.to_string().len() as u64 / 4);
    let written = content.len() as u64 / 3 + u64::from(number % 7);
    let id = format!("replay-{number}");
    replaying.state.lock().bill.replies.insert(id.clone(), (prompt, written));
    let message = json!({ "role": "assistant", "content": content });
    let choices = json!([{ "index": 0, "message": message, "finish_reason": finish }]);
    let usage = json!({ "prompt_tokens": prompt, "completion_tokens": written });
    Json(json!({ "id": id, "object": "chat.completion", "model": "replay", "choices": choices, "usage": usage }))
        .into_response()
}
