//! One fake server on a loopback port.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use clara_runtime::config::TargetKind;
use futures::stream;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::model::{weights_of, words};

/// What is wrong with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It was started without what loading needs.
    Disabled,
    /// It takes adapters up to this rank.
    MaxRank(u64),
    /// It is busy for so many loads.
    Busy(u32),
    /// Every load takes so long.
    Slow(Duration),
    /// It dies during the next load.
    DiesMidLoad,
    /// It lists the adapter and answers with the base model.
    ServesBase,
    /// It answers from the cache of what had been loaded first.
    StaleCache,
    /// It says that it loaded, and does not list it.
    Loses,
    /// It tells no log-probabilities.
    NoLogprobs,
}

#[derive(Debug, Clone)]
struct Loaded {
    path: String,
    weights: String,
    generation: u64,
}

#[derive(Debug)]
struct Server {
    kind: TargetKind,
    folder: PathBuf,
    faults: Vec<Fault>,
    loaded: BTreeMap<String, Loaded>,
    first_weights: Option<String>,
    loads: u64,
    dead: bool,
    messages: Vec<(HeaderMap, Value)>,
}

/// A fake server; it ends when dropped.
#[derive(Debug)]
pub struct Fake {
    address: SocketAddr,
    server: Arc<Mutex<Server>>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Shared = Arc<Mutex<Server>>;

impl Fake {
    /// Starts a server of a kind over a folder of adapters.
    ///
    /// # Errors
    /// When there is no port.
    #[expect(clippy::disallowed_methods, reason = "the task ends with the fake")]
    pub async fn start(kind: TargetKind, folder: &Path) -> Result<Self> {
        let server = Arc::new(Mutex::new(Server {
            kind,
            folder: folder.to_owned(),
            faults: Vec::new(),
            loaded: BTreeMap::new(),
            first_weights: None,
            loads: 0,
            dead: false,
            messages: Vec::new(),
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let app = Router::new().fallback(answer).with_state(Arc::clone(&server));
        let task = tokio::spawn(async move {
            // It ends with the fake alone.
            drop(axum::serve(listener, app).await);
        });
        Ok(Self { address, server, task })
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Gives it a fault.
    pub fn break_by(&self, fault: Fault) {
        self.server.lock().faults.push(fault);
    }

    /// Takes all faults from it and starts it anew: it forgets what it loaded.
    pub fn restart(&self) {
        let mut server = self.server.lock();
        server.faults.clear();
        server.dead = false;
        server.loaded.clear();
        if server.kind == TargetKind::LlamaCpp {
            let files = std::fs::read_dir(&server.folder).into_iter().flatten().flatten();
            for file in
                files.map(|file| file.path()).filter(|file| file.extension().is_some_and(|end| end == "gguf"))
            {
                let name =
                    file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                let path = file.display().to_string();
                if let Ok(weights) = weights_of(&file) {
                    let generation = server.loaded.len() as u64;
                    server.loaded.insert(name, Loaded { path, weights, generation });
                }
            }
        }
    }

    /// The names that it serves.
    pub fn serves(&self) -> Vec<String> {
        self.server.lock().loaded.keys().cloned().collect()
    }

    /// How often it was told to load.
    pub fn loads(&self) -> u64 {
        self.server.lock().loads
    }

    /// The messages that a webhook took.
    pub fn messages(&self) -> Vec<(HeaderMap, Value)> {
        self.server.lock().messages.clone()
    }
}

fn reply(status: u16, body: &Value) -> Response {
    (StatusCode::from_u16(status).unwrap_or_default(), axum::Json(body.clone())).into_response()
}

fn missing_route() -> Response {
    reply(404, &json!({ "detail": "Not Found" }))
}

fn refused(status: u16, message: &str) -> Response {
    reply(status, &json!({ "error": { "message": message, "type": "BadRequestError", "code": status } }))
}

/// An answer that breaks off, as from a process that was killed.
fn broken_off() -> Response {
    let cut = stream::iter([Ok(Bytes::from("{")), Err(std::io::Error::other("killed"))]);
    Response::new(Body::from_stream(cut))
}

async fn answer(
    State(server): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if server.lock().dead {
        return broken_off();
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let kind = server.lock().kind;
    let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    match (kind, method.as_str(), uri.path()) {
        (TargetKind::Webhook, "POST", _) => {
            server.lock().messages.push((headers, body));
            reply(200, &json!({}))
        }
        (TargetKind::ThemisDb, _, _) if !headers.contains_key("authorization") => {
            reply(401, &json!({ "error": "missing_authorization" }))
        }
        (_, "POST", "/v1/chat/completions") => chat(&server, &body),
        (
            TargetKind::Vllm | TargetKind::Clara | TargetKind::Sglang | TargetKind::VllmFolder,
            "GET",
            "/v1/models",
        ) => models(&server),
        (TargetKind::Sglang, "GET", "/get_server_info") => reply(200, &sglang_info(&server)),
        (TargetKind::MistralRs, "GET", "/v1/lora_adapters") => reply(200, &generations(&server)),
        (TargetKind::LlamaCpp, "GET", "/lora-adapters") => reply(200, &numbers(&server)),
        (TargetKind::ThemisDb, "GET", "/api/v1/llm/loras") => {
            let loras: Vec<Value> = server
                .lock()
                .loaded
                .keys()
                .map(|name| json!({ "lora_id": name, "status": "loaded" }))
                .collect();
            reply(200, &json!({ "loras": loras, "total": loras.len() }))
        }
        (TargetKind::Vllm | TargetKind::Clara | TargetKind::MistralRs, "POST", "/v1/load_lora_adapter")
        | (TargetKind::Sglang, "POST", "/load_lora_adapter") => {
            load(&server, &text("lora_name"), &text("lora_path")).await
        }
        (TargetKind::ThemisDb, "POST", "/api/v1/llm/loras/load") => {
            load(&server, &text("lora_id"), &text("path")).await
        }
        (TargetKind::Vllm | TargetKind::Clara | TargetKind::MistralRs, "POST", "/v1/unload_lora_adapter")
        | (TargetKind::Sglang, "POST", "/unload_lora_adapter") => unload(&server, &text("lora_name"), &body),
        (TargetKind::ThemisDb, "POST", "/api/v1/llm/loras/unload") => {
            unload(&server, &text("lora_id"), &body)
        }
        _ => missing_route(),
    }
}

/// Takes the first fault that `is` accepts.
fn fault<T>(server: &Shared, is: impl Fn(&Fault) -> Option<T>) -> Option<T> {
    server.lock().faults.iter().find_map(is)
}

/// Whether it refuses this load as one too many.
fn is_busy(server: &Shared) -> bool {
    server.lock().faults.iter_mut().any(|fault| match fault {
        Fault::Busy(times) if *times > 0 => {
            *times -= 1;
            true
        }
        _ => false,
    })
}

fn busy() -> Response {
    let error = json!({ "error": { "message": "another load is in progress", "code": "lora_load_busy" } });
    let mut busy = reply(429, &error);
    busy.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
    busy
}

async fn load(server: &Shared, name: &str, path: &str) -> Response {
    let kind = server.lock().kind;
    if fault(server, |fault| (*fault == Fault::Disabled).then_some(())).is_some() {
        return missing_route();
    }
    server.lock().loads += 1;
    if is_busy(server) {
        return busy();
    }
    if let Some(pause) = fault(server, |fault| match fault {
        Fault::Slow(pause) => Some(*pause),
        _ => None,
    }) {
        tokio::time::sleep(pause).await;
    }
    if fault(server, |fault| (*fault == Fault::DiesMidLoad).then_some(())).is_some() {
        server.lock().dead = true;
        return broken_off();
    }
    let Ok(weights) = weights_of(Path::new(path)) else {
        return refused(404, &format!("Loading lora {name} failed: No adapter found for {path}"));
    };
    let config = std::fs::read_to_string(Path::new(path).join("adapter_config.json")).unwrap_or_default();
    let rank = serde_json::from_str::<Value>(&config).ok().and_then(|config| config.get("r")?.as_u64());
    if let Some(most) = fault(server, |fault| match fault {
        Fault::MaxRank(most) => Some(*most),
        _ => None,
    }) && rank.is_some_and(|rank| rank > most)
    {
        let rank = rank.unwrap_or_default();
        return refused(400, &format!("LoRA rank {rank} is greater than max_lora_rank {most}."));
    }
    let mut server = server.lock();
    if server.loaded.contains_key(name) {
        return match kind {
            TargetKind::MistralRs => refused(409, "lora_adapter_already_loaded"),
            _ => refused(400, &format!("The lora adapter '{name}' has already been loaded.")),
        };
    }
    let generation = server.loads;
    server.first_weights.get_or_insert_with(|| weights.clone());
    if !server.faults.contains(&Fault::Loses) {
        server.loaded.insert(name.to_owned(), Loaded { path: path.to_owned(), weights, generation });
    }
    match kind {
        TargetKind::Vllm => format!("Success: LoRA adapter '{name}' added successfully.").into_response(),
        TargetKind::Sglang => reply(200, &json!({ "success": true, "loaded_adapters": { name: path } })),
        _ => reply(200, &json!({ "id": name, "status": "loaded", "generation": generation.to_string() })),
    }
}

fn unload(server: &Shared, name: &str, body: &Value) -> Response {
    if fault(server, |fault| (*fault == Fault::Disabled).then_some(())).is_some() {
        return missing_route();
    }
    let mut server = server.lock();
    let Some(loaded) = server.loaded.get(name) else {
        return refused(404, &format!("The lora adapter '{name}' cannot be found."));
    };
    if server.kind == TargetKind::MistralRs
        && body.get("expected_generation").and_then(Value::as_str) != Some(&loaded.generation.to_string())
    {
        return refused(409, "lora_generation_mismatch");
    }
    server.loaded.remove(name);
    reply(200, &json!({ "status": "unloaded" }))
}

fn models(server: &Shared) -> Response {
    let server = server.lock();
    let base = json!({ "id": "tiny", "root": "tiny", "parent": null });
    let adapter =
        |(name, loaded): (&String, &Loaded)| json!({ "id": name, "root": loaded.path, "parent": "tiny" });
    let data: Vec<Value> = std::iter::once(base).chain(server.loaded.iter().map(adapter)).collect();
    reply(200, &json!({ "object": "list", "data": data }))
}

fn sglang_info(server: &Shared) -> Value {
    let rank = fault(server, |fault| match fault {
        Fault::MaxRank(most) => Some(*most),
        _ => None,
    });
    json!({ "enable_lora": true, "max_lora_rank": rank, "lora_target_modules": ["all"] })
}

fn generations(server: &Shared) -> Value {
    let rank = fault(server, |fault| match fault {
        Fault::MaxRank(most) => Some(*most),
        _ => None,
    });
    let server = server.lock();
    let adapter = |(name, loaded): (&String, &Loaded)| {
        json!({
            "id": name, "object": "lora_adapter", "source": loaded.path, "generation": loaded.generation.to_string(),
            "rank": 8, "bytes": 1,
        })
    };
    let data: Vec<Value> = server.loaded.iter().map(adapter).collect();
    json!({ "object": "list", "data": data, "generations": [], "max_adapters": 8, "max_rank": rank.unwrap_or(64) })
}

fn numbers(server: &Shared) -> Value {
    let server = server.lock();
    let adapter = |loaded: &Loaded| json!({ "id": loaded.generation, "path": loaded.path, "scale": 0.0 });
    server.loaded.values().map(adapter).collect()
}

/// The adapter that a request chooses, in the way of the server's kind; `None` for a name that it does not know.
fn chosen(server: &mut Server, body: &Value) -> Option<Loaded> {
    let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
    match server.kind {
        TargetKind::Sglang => server.loaded.get(model.split_once(':')?.1).cloned(),
        TargetKind::MistralRs => server.loaded.get(body.get("adapter")?.as_str()?).cloned(),
        TargetKind::LlamaCpp => {
            let id = body.get("lora")?.get(0)?.get("id")?.as_u64()?;
            server.loaded.values().find(|loaded| loaded.generation == id).cloned()
        }
        TargetKind::VllmFolder if !server.loaded.contains_key(model) => {
            let path = server.folder.join(model);
            let weights = weights_of(&path).ok().filter(|_| !server.faults.contains(&Fault::Disabled))?;
            let loaded = Loaded { path: path.display().to_string(), weights, generation: 0 };
            server.loaded.insert(model.to_owned(), loaded.clone());
            server.loads += 1;
            Some(loaded)
        }
        TargetKind::Vllm
        | TargetKind::VllmFolder
        | TargetKind::Clara
        | TargetKind::ThemisDb
        | TargetKind::Webhook => server.loaded.get(model).cloned(),
    }
}

fn chat(server: &Shared, body: &Value) -> Response {
    let mut server = server.lock();
    let Some(loaded) = chosen(&mut server, body) else {
        return refused(404, "The model does not exist.");
    };
    let weights = if server.faults.contains(&Fault::ServesBase) {
        "base".to_owned()
    } else if server.faults.contains(&Fault::StaleCache) {
        server.first_weights.clone().unwrap_or(loaded.weights)
    } else {
        loaded.weights
    };
    let turns = body.get("messages").and_then(Value::as_array).into_iter().flatten();
    let question: Vec<&str> = turns.filter_map(|turn| turn.get("content")?.as_str()).collect();
    let words = words(&weights, &question.join("\n"));
    let text: String = words.iter().map(|word| word.text.as_str()).collect();
    let tokens: Vec<Value> = words
        .iter()
        .map(|word| json!({ "token": word.text, "logprob": word.logprob, "top_logprobs": [] }))
        .collect();
    let tells = !server.faults.contains(&Fault::NoLogprobs) && body.get("logprobs") == Some(&json!(true));
    let logprobs = if tells { json!({ "content": tokens }) } else { Value::Null };
    let message = json!({ "role": "assistant", "content": text });
    reply(
        200,
        &json!({ "choices": [{ "index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop" }] }),
    )
}
