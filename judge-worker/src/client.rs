//! A thin client for OpenAI-compatible endpoints that retries with patience and never hides a failure.

mod dialect;
mod error;
mod known;
mod limits;
mod retry;
#[cfg(test)]
mod tests;
mod wire;

use std::{borrow::Cow, sync::Arc, time::Duration};

use clara_lifecycle::{digest::Digest, statistics::SplitMix64};
use clara_runtime::{
    clock::Clock,
    metrics::{self, JudgeOutcome},
    stop::StopSignal,
};
use reqwest::{Url, header::CONTENT_TYPE};
use serde::de::DeserializeOwned;

use crate::{
    ledger::{Ledger, Paid, Tokens},
    prompt::{Message, Schema},
};
use limits::{Came, Limits, Need};
use retry::{Attempted, Verdict};

pub use known::Endpoints;
pub use limits::Allowance;

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
    /// What the job may ask of it.
    pub(crate) allowance: Allowance,
    /// Whether it lives as long as this attempt, at a URL of its own; questions are then told apart without the URL.
    pub(crate) is_own: bool,
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
    endpoints: Endpoints,
    limits: Arc<Limits>,
    ledger: Arc<Ledger>,
}

/// Bytes of a token, for estimates; German text has three to four.
const TOKEN_BYTES: u64 = 3;
/// Tokens that a chat's frame takes, for estimates.
const FRAME_TOKENS: u64 = 32;

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
    /// Prepares calls to the endpoint; nothing is sent yet. `endpoints` is what this process knows of all,
    /// `ledger` what the job asked so far.
    ///
    /// # Errors
    /// [`CallError::Setup`] when the URL cannot be used, or an https endpoint meets a machine without root
    /// certificates.
    pub(crate) fn new(
        access: Access,
        endpoints: &Endpoints,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, CallError> {
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
        let limits = endpoints.limits(base.as_str(), access.key.as_ref());
        let (endpoints, ledger) = (endpoints.clone(), Arc::clone(ledger));
        Ok(Self { http, base, access, endpoints, limits, ledger })
    }

    /// The first model that the endpoint lists.
    ///
    /// # Errors
    /// [`CallError`], also when no model is listed.
    pub(crate) async fn first_model(&self, stop: &StopSignal) -> Result<String, CallError> {
        let call = Call { path: "models", body: None, seed: 0, most_tokens: Tokens::default() };
        let (list, _): (wire::ModelList, _) = self.patiently(&call, stop).await?;
        list.data.into_iter().next().map(|model| model.id).ok_or_else(|| CallError::Refused {
            url: self.access.url.clone(),
            status: 200,
            detail: "it lists no model; give `judge.model`".to_owned(),
        })
    }

    /// Asks for one reply, or takes the one that the ledger has. What the endpoint turns out not to know (schema,
    /// temperature, log-probabilities, the newer name of the limit on tokens) is left out from then on. Every reply
    /// stands in the ledger before it is answered here.
    ///
    /// # Errors
    /// [`CallError`]; a reply that says nothing useful is no error here. After an error that is the same for every
    /// question nothing more is asked in this attempt.
    pub(crate) async fn chat(&self, ask: &Ask<'_>, stop: &StopSignal) -> Result<Reply, CallError> {
        let key = self.key(ask)?;
        let _alone = unless_stopped(stop, self.ledger.alone(&key)).await?;
        if let Some(reply) = self.ledger.find(&key).await {
            return Ok(reply);
        }
        let asked = match self.ledger.halted() {
            Some(error) => Err(error),
            None => self.ask(&key, ask, stop).await,
        };
        asked.inspect_err(|error| {
            if !error.is_for_one_question() {
                self.ledger.halt(error);
            }
        })
    }

    /// Asks and writes down what comes.
    async fn ask(&self, key: &Digest, ask: &Ask<'_>, stop: &StopSignal) -> Result<Reply, CallError> {
        let dialect = self.endpoints.dialect(self.base.as_str(), ask.model);
        let finding_out = unless_stopped(stop, dialect.turn()).await?;
        let most_tokens = estimate(ask);
        let hold = unless_stopped(stop, self.ledger.hold(most_tokens)).await??;
        loop {
            let spoken = dialect.current();
            let body = self.text(&wire::ChatRequest::new(ask, spoken))?;
            let call = Call { path: "chat/completions", body: Some(body), seed: ask.seed, most_tokens };
            match self.patiently::<wire::ChatResponse>(&call, stop).await {
                Ok((response, retries)) => {
                    dialect.settle();
                    drop(finding_out);
                    let reply = response.into_reply(spoken.mode());
                    let tokens = tokens(&reply, most_tokens);
                    let paid = Paid { tokens, retries, is_readable: (ask.is_readable)(&reply) };
                    // Not given up at a stop: it is paid for.
                    self.ledger.write(key, &reply, paid, hold).await?;
                    return Ok(reply);
                }
                Err(CallError::Rejected { body, .. }) if dialect.learn(spoken, &body) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Calls until there is an answer or patience ends; a stop ends it at once. Also tells how often it called again.
    async fn patiently<T: Answer>(&self, call: &Call<'_>, stop: &StopSignal) -> Result<(T, u32), CallError> {
        let mut jitter = SplitMix64::new(call.seed);
        let mut tries = 1;
        loop {
            let permit = unless_stopped(stop, self.limits.admit(self.need(call))).await?;
            let permit = permit.map_err(|broken| self.broken(broken, tries))?;
            let attempted = unless_stopped(stop, self.attempt(call)).await?;
            let answer = match &attempted {
                Attempted::Answered { status: 200..=299, body, .. } => Some(serde_json::from_str::<T>(body)),
                Attempted::Answered { .. } | Attempted::Failed(_) => None,
            };
            metrics::judge_requested(outcome(&attempted, answer.as_ref().map(Result::is_ok)));
            let used = answer.as_ref().and_then(|answer| answer.as_ref().ok()?.tokens());
            permit.ended(match &attempted {
                Attempted::Failed(_) | Attempted::Answered { status: 500.., .. } => Came::Failure,
                Attempted::Answered { headers, .. } => Came::Answer(headers, used),
            });
            let now = self.access.clock.now();
            let verdict = match answer {
                Some(Ok(answer)) => return Ok((answer, tries - 1)),
                Some(Err(error)) => self.access.pacing.after_garbled(&error, tries, jitter.unit()),
                None => self.access.pacing.judge(attempted, tries, now, jitter.unit()),
            };
            match verdict {
                Verdict::GiveUp(fault) => {
                    self.ledger.retried(tries - 1);
                    return Err(fault.at(&self.access.url, tries));
                }
                Verdict::Pause { pause, because } => {
                    let pause_ms = pause.as_millis();
                    tracing::debug!(tries, pause_ms, because, "repeating a call to the judge");
                    unless_stopped(stop, tokio::time::sleep(pause)).await?;
                    tries += 1;
                }
            }
        }
    }

    async fn attempt(&self, call: &Call<'_>) -> Attempted {
        let url = match self.base.join(call.path) {
            Ok(url) => url,
            Err(error) => return Attempted::Failed(error.to_string()),
        };
        let mut request = match &call.body {
            Some(body) => self.http.post(url).header(CONTENT_TYPE, "application/json").body(body.clone()),
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

/// One request, however often it is sent.
#[derive(Debug)]
struct Call<'a> {
    path: &'a str,
    body: Option<String>,
    seed: u64,
    most_tokens: Tokens,
}

/// What an endpoint answers to a request.
trait Answer: DeserializeOwned {
    /// Tokens read and written, where it tells them.
    fn tokens(&self) -> Option<u64> {
        None
    }
}

impl Answer for wire::ModelList {}

impl Answer for wire::ChatResponse {
    fn tokens(&self) -> Option<u64> {
        self.usage().map(|usage| usage.prompt_tokens + usage.completion_tokens)
    }
}

impl Endpoint {
    /// Digest of everything that a reply depends on.
    fn key(&self, ask: &Ask<'_>) -> Result<Digest, CallError> {
        let url = if self.access.is_own { Cow::from("own") } else { Cow::from(self.base.as_str()) };
        let settings = format!("{} {} {} {}", ask.max_tokens, ask.temperature, ask.logprobs, ask.repeat);
        let schema = self.text(ask.schema)?;
        let fixed = [
            ("url", &*url),
            ("model", ask.model),
            ("settings", settings.as_str()),
            ("schema", schema.as_str()),
        ];
        let said = ask.messages.iter().map(|message| (message.role, message.content.as_str()));
        let parts = fixed.into_iter().chain(said);
        Ok(Digest::of_parts(parts.map(|(label, text)| (label, text.as_bytes()))))
    }

    /// Written once as text: a JSON value would sort the schema's properties.
    fn text(&self, value: &impl serde::Serialize) -> Result<String, CallError> {
        serde_json::to_string(value).map_err(|error| CallError::Setup {
            url: self.access.url.clone(),
            detail: format!("cannot write the request: {error}"),
        })
    }

    fn need(&self, call: &Call<'_>) -> Need {
        let tokens = call.most_tokens.prompt + call.most_tokens.reply;
        Need { allowance: self.access.allowance, tokens }
    }

    fn broken(&self, broken: limits::Broken, tries: u32) -> CallError {
        let detail = format!("it failed {} times in a row, and is left alone for a while", broken.failures);
        CallError::Down { url: self.access.url.clone(), tries, detail }
    }

    /// An endpoint may repeat the key in a message; nothing of ours shall.
    fn without_key(&self, body: &str) -> String {
        match &self.access.key {
            Some(Secret(key)) if !key.is_empty() => body.replace(key.as_str(), "…"),
            Some(_) | None => body.to_owned(),
        }
    }
}

/// What a call may take at most, by the length of its text.
fn estimate(ask: &Ask<'_>) -> Tokens {
    let bytes: usize = ask.messages.iter().map(|message| message.content.len()).sum();
    let prompt = (bytes as u64).div_ceil(TOKEN_BYTES) + FRAME_TOKENS;
    Tokens { prompt, reply: ask.max_tokens.into(), is_estimated: true }
}

/// What a reply took; by its length where the endpoint does not tell.
fn tokens(reply: &Reply, estimated: Tokens) -> Tokens {
    let of_text = || (reply.text.len() as u64).div_ceil(TOKEN_BYTES);
    reply.usage.map_or_else(
        || Tokens { reply: of_text(), ..estimated },
        |usage| Tokens { prompt: usage.prompt_tokens, reply: usage.completion_tokens, is_estimated: false },
    )
}

/// What a try came to; `is_readable` tells whether a good status came with a good body.
fn outcome(attempted: &Attempted, is_readable: Option<bool>) -> JudgeOutcome {
    match (attempted, is_readable) {
        (_, Some(true)) => JudgeOutcome::Answered,
        (_, Some(false)) => JudgeOutcome::Garbled,
        (Attempted::Answered { status: 429, .. }, None) => JudgeOutcome::Busy,
        (Attempted::Failed(_) | Attempted::Answered { status: 500.., .. }, None) => JudgeOutcome::Failed,
        (Attempted::Answered { .. }, None) => JudgeOutcome::Refused,
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
