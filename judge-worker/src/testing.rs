//! A double of an OpenAI-compatible endpoint: a real HTTP server on this machine that replies as it is told.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::Response,
};
use clara_lifecycle::{id::Fence, score::Criterion};
use clara_runtime::artifacts::{ArtifactError, ArtifactStore};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::ledger::{Ledger, Terms};

/// One call that the double received.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Position among all calls, from 0.
    pub(crate) index: usize,
    /// Path of the URL.
    pub(crate) path: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body; null when there is none.
    pub(crate) body: Value,
    /// Its body as it came.
    pub(crate) raw: String,
}

impl Call {
    /// The content of the last turn.
    pub(crate) fn last_turn(&self) -> &str {
        self.body["messages"]
            .as_array()
            .and_then(|turns| turns.last()?["content"].as_str())
            .unwrap_or_default()
    }
}

/// What the double answers.
#[derive(Debug, Clone)]
pub(crate) struct Canned {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Canned {
    /// A body with a status.
    pub(crate) fn status(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// An error in OpenAI's shape.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": code});
        Self::status(status, json!({ "error": error }).to_string())
    }

    /// A chat completion in OpenAI's shape.
    pub(crate) fn reply(content: impl Into<Value>, finish_reason: &str) -> Self {
        let message = json!({"role": "assistant", "content": content.into(), "refusal": null});
        let choice =
            json!({"index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason});
        let body = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "judge-model-0101",
            "choices": [choice], "system_fingerprint": "fp_1",
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        });
        Self::status(200, body.to_string())
    }

    /// A good reply that gives the same score (0–10) everywhere.
    pub(crate) fn scores(score: u8) -> Self {
        Self::reply(scores_json(score), "stop")
    }

    /// The same answer with a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The text of a good reply that gives the same score (0–10) everywhere, in the judge's halves.
pub(crate) fn scores_json(score: u8) -> String {
    let mark = Value::from(f64::from(score) / 2.0);
    let scores: serde_json::Map<_, _> =
        Criterion::ALL.map(|criterion| (criterion.to_string(), mark.clone())).into_iter().collect();
    json!({ "scores": scores }).to_string()
}

type Script = dyn Fn(&Call) -> Canned + Send + Sync;

struct Shared {
    script: Box<Script>,
    calls: Mutex<Vec<Call>>,
}

/// The server; it ends when this is dropped.
pub(crate) struct Double {
    /// Its base URL, with `/v1`.
    pub(crate) url: String,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

impl Double {
    /// Starts a server that answers `GET /models` with one model and every chat by `script`.
    pub(crate) async fn start(script: impl Fn(&Call) -> Canned + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared { script: Box::new(script), calls: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, _server: server }
    }

    /// The chats that were asked for, in order.
    pub(crate) fn chats(&self) -> Vec<Call> {
        self.shared.calls.lock().clone()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let headers = request.headers().clone();
    let bytes = to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    let canned = if path == "/v1/models" {
        Canned::status(
            200,
            json!({"object": "list", "data": [{"id": "judge-model", "object": "model"}]}).to_string(),
        )
    } else {
        let mut calls = shared.calls.lock();
        let call =
            Call { index: calls.len(), path, headers, body, raw: String::from_utf8(bytes.to_vec()).unwrap() };
        calls.push(call.clone());
        drop(calls);
        (shared.script)(&call)
    };
    let mut response = Response::new(Body::from(canned.body));
    *response.status_mut() = StatusCode::from_u16(canned.status).unwrap();
    for (name, value) in canned.headers {
        response.headers_mut().insert(name, HeaderValue::from_str(&value).unwrap());
    }
    response
}

/// An artifact store with ledgers of jobs in it; gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Desk {
    folder: tempfile::TempDir,
    artifacts: ArtifactStore,
}

impl Desk {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = ArtifactStore::local(folder.path()).unwrap();
        Self { folder, artifacts }
    }

    /// The ledger of `job-1` as the attempt with this fence opens it.
    pub(crate) async fn ledger(&self, fence: u64, terms: Terms) -> Arc<Ledger> {
        self.ledger_of("job-1", fence, terms).await
    }

    /// The ledger of another job in the same store.
    pub(crate) async fn ledger_of(&self, job: &str, fence: u64, terms: Terms) -> Arc<Ledger> {
        Arc::new(self.open(job, fence, terms).await.unwrap())
    }

    /// The same where it may fail.
    pub(crate) async fn open(&self, job: &str, fence: u64, terms: Terms) -> Result<Ledger, ArtifactError> {
        Ledger::open(&self.artifacts, job, Fence(fence), terms).await
    }

    /// Changes a byte in every file below a folder of the store.
    pub(crate) fn damage(&self, folder: &str) {
        let mut folders = vec![self.folder.path().join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let mut content = std::fs::read(&path).unwrap();
                *content.last_mut().unwrap() ^= 1;
                std::fs::write(&path, content).unwrap();
            }
        }
    }
}
