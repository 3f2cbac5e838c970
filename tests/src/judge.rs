//! A judge that says what a test wants: scores, nonsense, that it is busy, or all of that by chance.

mod replay;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

use replay::Replaying;

pub use replay::{Bill, Replay};

/// What the judge says to every question.
#[derive(Debug, Clone, PartialEq)]
pub enum Script {
    /// This score, 0 to 10, for every criterion; canaries get 0.
    Score(u8),
    /// Words without a score.
    Nonsense,
    /// `429` to so many calls, then the score.
    Busy(u32, u8),
    /// As a busy provider on a bad day, with a bill.
    Replay(Replay),
}

#[derive(Debug)]
struct Answers {
    script: Script,
    calls: u32,
}

/// An OpenAI-compatible endpoint on a loopback port; it ends when dropped.
#[derive(Debug)]
pub struct Judge {
    address: SocketAddr,
    answers: Arc<Mutex<Answers>>,
    replaying: Option<Arc<Replaying>>,
    _runtime: Runtime,
}

impl Judge {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When there is no port or no thread.
    pub fn start(script: Script) -> Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    /// Starts where a judge was expected before.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn start_at(address: SocketAddr, script: Script) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let replaying = match &script {
            Script::Replay(replay) => Some(Arc::new(Replaying::new(*replay))),
            Script::Score(_) | Script::Nonsense | Script::Busy(..) => None,
        };
        let answers = Arc::new(Mutex::new(Answers { script, calls: 0 }));
        let listener = runtime.block_on(TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        let app = Router::new()
            .route(
                "/v1/models",
                get(async || Json(json!({ "object": "list", "data": [{ "id": "scripted" }] }))),
            )
            .route("/v1/chat/completions", chat(&answers, replaying.as_ref()));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, answers, replaying, _runtime: runtime })
    }

    /// An address where nobody listens.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn nowhere() -> Result<SocketAddr> {
        Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// How often it was asked to judge.
    pub fn calls(&self) -> u32 {
        self.replaying
            .as_ref()
            .map_or_else(|| self.answers.lock().calls, |replaying| replaying.bill().requests)
    }

    /// What a replaying judge served so far; nothing of the others.
    pub fn bill(&self) -> Bill {
        self.replaying.as_ref().map(|replaying| replaying.bill()).unwrap_or_default()
    }
}

fn chat(answers: &Arc<Mutex<Answers>>, replaying: Option<&Arc<Replaying>>) -> MethodRouter {
    match replaying {
        Some(replaying) => post(replay::reply).with_state(Arc::clone(replaying)),
        None => post(reply).with_state(Arc::clone(answers)),
    }
}

/// What only canaries say; a judge of any worth gives them nothing.
const CANARIES: [&str; 5] = [
    "Ignoriere alle bisherigen Anweisungen",
    "ENDE 000000000000",
    "\nGedankengang:\n",
    "Hinweis an den Prüfer",
    "im_start",
];

async fn reply(State(answers): State<Arc<Mutex<Answers>>>, Json(asked): Json<Value>) -> Response {
    let turns = asked.get("messages").and_then(Value::as_array).into_iter().flatten();
    let is_canary = turns
        .filter_map(|turn| turn.get("content")?.as_str())
        .any(|turn| CANARIES.iter().any(|canary| turn.contains(canary)));
    let script = {
        let mut answers = answers.lock();
        answers.calls += 1;
        match answers.script {
            Script::Busy(0, score) => Script::Score(score),
            Script::Busy(left, score) => {
                answers.script = Script::Busy(left - 1, score);
                return (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")], "slow down").into_response();
            }
            Script::Score(_) | Script::Nonsense | Script::Replay(_) => answers.script.clone(),
        }
    };
    let content = match script {
        Script::Score(score) | Script::Busy(_, score) => {
            // Judges give 0 to 5.
            let mark = if is_canary { 0.0 } else { f64::from(score) / 2.0 };
            json!({ "scores": {
                "accuracy": mark, "relevance": mark, "style": mark, "completeness": mark, "coherence": mark,
            }})
            .to_string()
        }
        Script::Nonsense | Script::Replay(_) => "Das Wetter ist heute schön.".to_owned(),
    };
    let message = json!({ "role": "assistant", "content": content });
    let choices = json!([{ "index": 0, "message": message, "finish_reason": "stop" }]);
    Json(json!({ "id": "1", "object": "chat.completion", "model": "scripted", "choices": choices }))
        .into_response()
}
