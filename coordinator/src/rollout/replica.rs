//! One replica of a rollout target, called with patience: busy servers are asked again, refusals are kept as they are.

use std::time::Duration;

use clara_runtime::config::{Secret, TargetSettings};
use reqwest::{
    Method, Url,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::error::TargetError;

/// Tries where a connection fails or a server has an error of its own.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// So much of an answer is kept for people.
const ANSWER_CHARS: usize = 300;

/// One server.
#[derive(Debug)]
pub(crate) struct Replica {
    /// Its base URL as the settings have it.
    pub(crate) url: String,
    /// The key that it is sent; for a webhook the secret that signs.
    pub(crate) key: Option<Secret>,
    /// Longest wait for one answer.
    pub(crate) timeout: Duration,
    /// Longest wait for a load.
    pub(crate) load_timeout: Duration,
    base: Url,
    http: reqwest::Client,
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: &'static str,
    body: Option<String>,
    headers: Vec<(&'static str, String)>,
    within: Duration,
    sends_key: bool,
}

/// What a replica answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Status and the beginning of the text, on one line.
    pub(crate) fn short(&self) -> String {
        let text: String = self.body.split_whitespace().collect::<Vec<_>>().join(" ");
        let text: String = text.chars().take(ANSWER_CHARS).collect();
        format!("{} {text}", self.status).trim_end().to_owned()
    }
}

impl Call {
    pub(crate) fn get(path: &'static str, within: Duration) -> Self {
        Self { method: Method::GET, path, body: None, headers: Vec::new(), within, sends_key: true }
    }

    pub(crate) fn post(path: &'static str, body: &serde_json::Value, within: Duration) -> Self {
        Self { method: Method::POST, body: Some(body.to_string()), ..Self::get(path, within) }
    }

    /// Adds headers in place of the key.
    pub(crate) fn signed(mut self, headers: Vec<(&'static str, String)>) -> Self {
        self.headers = headers;
        self.sends_key = false;
        self
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, if self.path.is_empty() { "/" } else { self.path })
    }
}

/// How one try ended.
enum Tried {
    Answered { answer: Answer, retry_after: Option<Duration> },
    Failed(String),
    TooSlow,
}

impl Replica {
    /// Prepares calls to `url`; nothing is sent yet.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub(crate) fn open(url: &str, settings: &TargetSettings, key: Option<Secret>) -> Result<Self, String> {
        let base = Url::parse(url).map_err(|error| format!("`{url}` is no URL: {error}"))?;
        // Fails only when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().connect_timeout(settings.timeout.0);
        // Plain HTTP is for servers nearby: no proxy in between, and no certificates needed.
        let builder = if base.scheme() == "http" { builder.no_proxy().tls_certs_only([]) } else { builder };
        let http = builder.build().map_err(|error| format!("cannot prepare calls to {url}: {error}"))?;
        let (timeout, load_timeout) = (settings.timeout.0, settings.load_timeout.0);
        Ok(Self { url: url.to_owned(), key, timeout, load_timeout, base, http })
    }

    /// Calls until there is an answer that waiting will not change, or patience ends.
    ///
    /// # Errors
    /// [`TargetError`] when there is no answer, or the replica stays busy. A refusal is an answer.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answer, TargetError> {
        let began = Instant::now();
        let (mut tries, mut pause) = (1, FIRST_PAUSE);
        loop {
            let left = call.within.saturating_sub(began.elapsed());
            let (told, wait) = match self.attempt(call, left).await {
                Tried::TooSlow => {
                    let (url, call, within) = (self.url.clone(), call.name(), call.within);
                    return Err(TargetError::TooSlow { url, call, within });
                }
                Tried::Answered { answer, retry_after } => match answer.status {
                    429 | 503 => {
                        let wait = retry_after.unwrap_or(pause);
                        if wait >= call.within.saturating_sub(began.elapsed()) {
                            let (url, call, answer) = (self.url.clone(), call.name(), answer.short());
                            return Err(TargetError::Busy { url, call, waited: began.elapsed(), answer });
                        }
                        (answer.short(), wait)
                    }
                    408 | 500 | 502 | 504 if tries < TRIES => {
                        tries += 1;
                        (answer.short(), pause)
                    }
                    _ => return Ok(answer),
                },
                Tried::Failed(reason) if tries < TRIES => {
                    tries += 1;
                    (reason, pause)
                }
                Tried::Failed(reason) => {
                    return Err(TargetError::Unreachable {
                        url: self.url.clone(),
                        call: call.name(),
                        reason,
                    });
                }
            };
            tracing::debug!(
                url = self.url,
                pause_ms = wait.as_millis(),
                "{} is repeated: {told}",
                call.name()
            );
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Calls and reads the answer.
    ///
    /// # Errors
    /// [`TargetError`], also for a refusal and an answer of another shape.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, call: &Call) -> Result<T, TargetError> {
        let answer = self.accepted(call, "").await?;
        self.read(call, &answer)
    }

    /// Calls; a refusal is an error that ends with `hint`.
    ///
    /// # Errors
    /// [`TargetError`].
    pub(crate) async fn accepted(&self, call: &Call, hint: &str) -> Result<Answer, TargetError> {
        let answer = self.call(call).await?;
        if answer.is_success() { Ok(answer) } else { Err(self.refused(call, &answer, hint)) }
    }

    /// The refusal as an error.
    pub(crate) fn refused(&self, call: &Call, answer: &Answer, hint: &str) -> TargetError {
        TargetError::Refused {
            url: self.url.clone(),
            call: call.name(),
            status: answer.status,
            answer: answer.short(),
            hint: if hint.is_empty() { String::new() } else { format!("; {hint}") },
        }
    }

    /// Reads an answer as JSON.
    ///
    /// # Errors
    /// [`TargetError::Unreadable`].
    pub(crate) fn read<T: DeserializeOwned>(&self, call: &Call, answer: &Answer) -> Result<T, TargetError> {
        serde_json::from_str(&answer.body).map_err(|error| TargetError::Unreadable {
            url: self.url.clone(),
            call: call.name(),
            reason: format!("{error} in {}", answer.short()),
        })
    }

    async fn attempt(&self, call: &Call, left: Duration) -> Tried {
        let path = format!("{}{}", self.base.path().trim_end_matches('/'), call.path);
        let mut url = self.base.clone();
        url.set_path(&path);
        let mut request = self.http.request(call.method.clone(), url).timeout(left);
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        if let Some(key) = self.key.as_ref().filter(|_| call.sends_key) {
            request = request.bearer_auth(key.reveal());
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let failed = |error: reqwest::Error| {
            if error.is_timeout() { Tried::TooSlow } else { Tried::Failed(causes(&error)) }
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return failed(error),
        };
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        match response.text().await {
            Ok(body) => Tried::Answered {
                answer: Answer { status, body: self.without_key(body) },
                retry_after: retry_after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            },
            Err(error) => failed(error),
        }
    }

    /// A server may repeat the key in a message; nothing of ours shall.
    fn without_key(&self, body: String) -> String {
        match &self.key {
            Some(key) if !key.reveal().is_empty() => body.replace(key.reveal(), Secret::MASK),
            Some(_) | None => body,
        }
    }
}

/// An error of the HTTP client with what caused it, without its URL, which may hold a password.
fn causes(error: &reqwest::Error) -> String {
    let mut told = String::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if !told.contains(&text) {
            told = if told.is_empty() { text } else { format!("{told}: {text}") };
        }
        next = cause.source();
    }
    if told.is_empty() { "the request failed".to_owned() } else { told }
}
