//! Asks a server for embeddings: in batches, with patience, and never for longer than the attempt may run.

use std::time::Duration;

use clara_lifecycle::{shown::shown, spec::RerankOptions};
use reqwest::{Response, StatusCode, header::RETRY_AFTER};
use serde::{Deserialize, Serialize};

use crate::{error::IngestError, ingest::IngestObserver};

/// Only variables that end so are read: a job cannot ask for other secrets of the worker.
const KEY_VARIABLE_SUFFIX: &str = "_API_KEY";
/// Requests for one batch before the stage fails and may be tried again.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
const TIMEOUT: Duration = Duration::from_mins(1);
/// How often a waiting request asks whether the attempt was stopped.
const STOP_CHECK: Duration = Duration::from_millis(100);
/// So much of a server's own message is told, in characters.
const TOLD_CHARS: usize = 200;

/// One server and model.
pub(super) struct Client<'a> {
    options: &'a RerankOptions,
    observer: &'a dyn IngestObserver,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    url: String,
    key: Option<String>,
    /// Numbers of a vector, known from the first.
    length: Option<usize>,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [&'a str],
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Reply {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    index: usize,
    embedding: Vec<f32>,
}

/// What came of one request.
enum Outcome {
    Reply(Reply),
    /// Worth a repetition, after the pause that the server asks for.
    Again(String, Option<Duration>),
    Refused(String),
}

impl<'a> Client<'a> {
    /// A client; nothing is asked yet.
    pub(super) fn new(
        options: &'a RerankOptions,
        observer: &'a dyn IngestObserver,
    ) -> Result<Self, IngestError> {
        let refuse = |problem: String| IngestError::Embeddings {
            endpoint: shown(&options.endpoint).into_owned(),
            problem,
            is_retryable: false,
        };
        let key = options.api_key_env.as_deref().map(key).transpose().map_err(refuse)?;
        // Fails only when one is installed already, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().timeout(TIMEOUT);
        let is_plain = options.endpoint.starts_with("http://");
        let builder = if is_plain { builder.no_proxy().tls_certs_only([]) } else { builder };
        let http = builder.build().map_err(|error| refuse(format!("no client can be made: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| refuse(format!("no runtime can be made: {error}")))?;
        let url = format!("{}/embeddings", options.endpoint.trim_end_matches('/'));
        Ok(Self { options, observer, runtime, http, url, key, length: None })
    }

    /// One vector of length 1 for each text, in their order.
    pub(super) fn embed(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>, IngestError> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let problem = match self.unless_stopped(self.ask(texts))? {
                Outcome::Reply(reply) => {
                    return self.vectors(reply, texts.len()).map_err(|problem| self.error(problem, false));
                }
                Outcome::Refused(problem) => return Err(self.error(problem, false)),
                Outcome::Again(problem, wanted) => {
                    pause = wanted.unwrap_or(pause).min(LONGEST_PAUSE);
                    problem
                }
            };
            if tries == TRIES {
                let problem = format!(
                    "{problem}, after {TRIES} tries; check that the server runs there and is not overloaded"
                );
                return Err(self.error(problem, true));
            }
            // Within the runtime: a timer outside of one cannot be made.
            self.unless_stopped(async { tokio::time::sleep(pause).await })?;
            tries += 1;
            pause *= 2;
        }
    }

    async fn ask(&self, texts: &[&str]) -> Outcome {
        let body = Request { model: &self.options.model, input: texts, encoding_format: "float" };
        let mut request = self.http.post(&self.url).json(&body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Outcome::Again(cause(&error), None),
        };
        let status = response.status();
        if status.is_success() {
            return match response.bytes().await {
                Err(error) => Outcome::Again(cause(&error), None),
                Ok(bytes) => serde_json::from_slice(&bytes).map_or_else(
                    |error| {
                        Outcome::Refused(format!(
                            "it gave no embeddings ({error}); expected {{\"data\": [{{\"index\", \"embedding\"}}]}}; check that \
                             ingest.rerank.endpoint is the base URL with /v1"
                        ))
                    },
                    Outcome::Reply,
                ),
            };
        }
        let is_passing = status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        let wanted = retry_after(&response);
        let told = format!("it answered {status}{}", message(response).await);
        if is_passing {
            return Outcome::Again(told, wanted);
        }
        Outcome::Refused(format!(
            "{told}; check ingest.rerank.model (`{}`), its endpoint and its key",
            self.options.model
        ))
    }

    /// The vectors of a reply, in the order of the texts.
    fn vectors(&mut self, mut reply: Reply, expected: usize) -> Result<Vec<Vec<f32>>, String> {
        reply.data.sort_by_key(|embedding| embedding.index);
        let indexes = reply.data.iter().map(|embedding| embedding.index);
        if !indexes.eq(0..expected) {
            return Err(format!(
                "it gave {} embeddings for {expected} texts, or numbered them wrongly; use another server",
                reply.data.len()
            ));
        }
        let mut vectors = Vec::with_capacity(expected);
        for Embedding { mut embedding, .. } in reply.data {
            let length = *self.length.get_or_insert(embedding.len());
            if embedding.len() != length {
                return Err(format!(
                    "it gave embeddings of {length} and of {} numbers; use a server with one model",
                    embedding.len()
                ));
            }
            let norm = embedding.iter().map(|number| number * number).sum::<f32>().sqrt();
            if !norm.is_normal() {
                return Err("it gave an embedding without direction; use another model".into());
            }
            for number in &mut embedding {
                *number /= norm;
            }
            vectors.push(embedding);
        }
        Ok(vectors)
    }

    fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, IngestError> {
        self.runtime.block_on(async {
            tokio::pin!(work);
            loop {
                if let Some(reason) = self.observer.stop() {
                    return Err(IngestError::Stopped(reason));
                }
                if let Ok(done) = tokio::time::timeout(STOP_CHECK, &mut work).await {
                    return Ok(done);
                }
            }
        })
    }

    fn error(&self, problem: String, is_retryable: bool) -> IngestError {
        IngestError::Embeddings {
            endpoint: shown(&self.options.endpoint).into_owned(),
            problem,
            is_retryable,
        }
    }
}

fn key(variable: &str) -> Result<String, String> {
    if !variable.ends_with(KEY_VARIABLE_SUFFIX) {
        return Err(format!(
            "`ingest.rerank.api_key_env` names {variable}; only variables that end in {KEY_VARIABLE_SUFFIX} are read"
        ));
    }
    let key = std::env::var(variable).ok().filter(|key| !key.is_empty());
    key.ok_or_else(|| format!("the ingest-worker has no environment variable {variable}; set it there"))
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// What the server says about its refusal, shortened.
async fn message(response: Response) -> String {
    let body: serde_json::Value = match response.json().await {
        Ok(body) => body,
        Err(_) => return String::new(),
    };
    let error = body.get("error").unwrap_or(&body);
    let message = error.get("message").unwrap_or(error).as_str().unwrap_or_default();
    if message.is_empty() {
        return String::new();
    }
    format!(" ({})", message.chars().take(TOLD_CHARS).collect::<String>())
}

/// The innermost cause, which says what happened; the outer ones repeat the address.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if error.is_timeout() {
        return format!("it gave no answer within {} s", TIMEOUT.as_secs());
    }
    format!("it cannot be reached: {innermost}")
}
