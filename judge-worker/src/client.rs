//! A thin client for OpenAI-compatible endpoints that retries with patience and never hides a failure.

mod dialect;
mod error;
mod retry;
#[cfg(test)]
mod tests;
mod wire;

use std::{sync::Arc, time::Duration};

use clara_lifecycle::statistics::SplitMix64;
use clara_runtime::{clock::Clock, metrics, stop::StopSignal};
use reqwest::{Url, header::CONTENT_TYPE};
use serde::de::DeserializeOwned;

use crate::prompt::{Message, Schema};
use dialect::Dialect;
use retry::{Attempted, Verdict};

pub(crate) use error::CallError;
pub(crate) use retry::Pacing;
pub(crate) use wire::{Finish, Reply, ReplyMode, TokenLogprob};

/// How an endpoint is reached.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// Base URL, e.g. `http://localhost:8000/v1`.
    pub(crate) url: String,
    /// The key that is sent as bearer token; shown nowhere.
    pub(crate) key: Option<Secret>,
    /// Longest wait for one reply.
    pub(crate) timeout: Duration,
    /// How often and after which pauses a call is repeated.
    pub(crate) pacing: Pacing,
    /// Tells the time, for pauses until a date.
    pub(crate) clock: Arc<dyn Clock>,
}

/// A text that no log and no error shows.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// An OpenAI-compatible endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    http: reqwest::Client,
    base: Url,
    access: Access,
    dialect: Dialect,
}

/// What one call asks for.
pub(crate) struct Ask<'a> {
    /// Model name at the endpoint.
    pub(crate) model: &'a str,
    /// The conversation so far.
    pub(crate) messages: &'a [Message],
    /// What the reply must look like.
    pub(crate) schema: &'a Schema,
    /// Longest reply in tokens.
    pub(crate) max_tokens: u32,
    /// 0 for the likeliest reply; more where repeats shall differ.
    pub(crate) temperature: f32,
    /// Whether the probabilities of the reply's tokens are wanted; an endpoint may not tell them.
    pub(crate) logprobs: bool,
    /// Number of the repeat, from 0: the same question asked again is another call.
    pub(crate) repeat: u32,
    /// Whether a reply says what was asked for; another one is not kept for later jobs.
    pub(crate) is_readable: &'a (dyn Fn(&Reply) -> bool + Send + Sync),
    /// Seed of the jitter in the pauses.
    pub(crate) seed: u64,
}

impl Endpoint {
    /// Prepares calls to the endpoint; nothing is sent yet.
    ///
    /// # Errors
    /// [`CallError::Setup`] when the URL cannot be used, or an https endpoint meets a machine without root
    /// certificates.
    pub(crate) fn new(access: Access) -> Result<Self, CallError> {
        let setup = |detail: String| CallError::Setup { url: access.url.clone(), detail };
        let base = Url::parse(&format!("{}/", access.url.trim_end_matches('/')))
            .map_err(|error| setup(error.to_string()))?;
        // Fails only when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().timeout(access.timeout);
        let builder = match base.scheme() {
            "https" => builder,
            // Plain HTTP is for endpoints nearby: no proxy in between, and no certificates needed.
            "http" => builder.no_proxy().tls_certs_only([]),
            other => return Err(setup(format!("expected http or https, found {other}"))),
        };
        let http = builder.build().map_err(|error| setup(error::chain(&error)))?;
        Ok(Self { http, base, access, dialect: Dialect::default() })
    }

    /// The base URL as it was given.
    pub(crate) fn url(&self) -> &str {
        &self.access.url
    }

    /// The first model that the endpoint lists.
    ///
    /// # Errors
    /// [`CallError`], also when no model is listed.
    pub(crate) async fn first_model(&self, stop: &StopSignal) -> Result<String, CallError> {
        let list: wire::ModelList = self.patiently("models", None, 0, stop).await?;
        list.data.into_iter().next().map(|model| model.id).ok_or_else(|| CallError::Refused {
            url: self.access.url.clone(),
            status: 200,
            detail: "it lists no model; give `judge.model`".to_owned(),
        })
    }

    /// Asks for one reply. What the endpoint turns out not to know (schema, temperature, the newer name of the
    /// limit on tokens) is left out from then on.
    ///
    /// # Errors
    /// [`CallError`]; a reply that says nothing useful is no error here.
    pub(crate) async fn chat(&self, ask: &Ask<'_>, stop: &StopSignal) -> Result<Reply, CallError> {
        let finding_out = self.dialect.turn().await;
        loop {
            let spoken = self.dialect.current();
            let body = wire::ChatRequest::new(ask, spoken);
            // Written once as text: a JSON value would sort the schema's properties.
            let body = serde_json::to_string(&body).map_err(|error| CallError::Setup {
                url: self.access.url.clone(),
                detail: format!("cannot write the request: {error}"),
            })?;
            match self
                .patiently::<wire::ChatResponse>("chat/completions", Some(body.as_str()), ask.seed, stop)
                .await
            {
                Ok(response) => {
                    self.dialect.settle();
                    drop(finding_out);
                    return Ok(response.into_reply(spoken.mode()));
                }
                Err(CallError::Rejected { body, .. }) if self.dialect.learn(spoken, &body) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Calls until there is an answer or patience ends; a stop ends it at once.
    async fn patiently<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<&str>,
        seed: u64,
        stop: &StopSignal,
    ) -> Result<T, CallError> {
        let mut jitter = SplitMix64::new(seed);
        let mut tries = 1;
        loop {
            let attempted = unless_stopped(stop, self.attempt(path, body)).await?;
            let answer = match &attempted {
                Attempted::Answered { status: 200..=299, body, .. } => Some(serde_json::from_str(body)),
                Attempted::Answered { .. } | Attempted::Failed(_) => None,
            };
            let now = self.access.clock.now();
            let verdict = match answer {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(error)) => self.access.pacing.after_garbled(&error, tries, jitter.unit()),
                None => self.access.pacing.judge(attempted, tries, now, jitter.unit()),
            };
            match verdict {
                Verdict::GiveUp(fault) => return Err(fault.at(&self.access.url, tries)),
                Verdict::Pause { pause, because } => {
                    tracing::debug!(
                        tries,
                        pause_ms = pause.as_millis(),
                        because,
                        "repeating a call to the judge"
                    );
                    unless_stopped(stop, tokio::time::sleep(pause)).await?;
                    tries += 1;
                }
            }
        }
    }

    async fn attempt(&self, path: &str, body: Option<&str>) -> Attempted {
        let url = match self.base.join(path) {
            Ok(url) => url,
            Err(error) => return Attempted::Failed(error.to_string()),
        };
        let mut request = match body {
            Some(body) => self.http.post(url).header(CONTENT_TYPE, "application/json").body(body.to_owned()),
            None => self.http.get(url),
        };
        if let Some(Secret(key)) = &self.access.key {
            request = request.bearer_auth(key);
        }
        let asked = tokio::time::Instant::now();
        let sent = request.send().await;
        metrics::judge_asked(asked.elapsed());
        match sent {
            Ok(response) => {
                let status = response.status().as_u16();
                let headers = response.headers().clone();
                match response.text().await {
                    Ok(body) => Attempted::Answered { status, headers, body: self.without_key(&body) },
                    Err(error) => Attempted::Failed(error::chain(&error)),
                }
            }
            Err(error) => Attempted::Failed(error::chain(&error)),
        }
    }
}

impl Endpoint {
    /// An endpoint may repeat the key in a message; nothing of ours shall.
    fn without_key(&self, body: &str) -> String {
        match &self.access.key {
            Some(Secret(key)) if !key.is_empty() => body.replace(key.as_str(), "…"),
            Some(_) | None => body.to_owned(),
        }
    }
}

/// Runs `work` until it ends or the attempt is told to stop.
async fn unless_stopped<T>(stop: &StopSignal, work: impl Future<Output = T>) -> Result<T, CallError> {
    let mut stop = stop.clone();
    tokio::select! {
        biased;
        reason = stop.stopped() => Err(CallError::Stopped(reason)),
        output = work => Ok(output),
    }
}
