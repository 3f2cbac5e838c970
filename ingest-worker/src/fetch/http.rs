//! Asks servers of documents over HTTP: patient with their failures, final with their refusals.

mod answer;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    fmt,
    time::{Duration, Instant},
};

use clara_runtime::config::{RemoteSettings, Secret};
use parking_lot::Mutex;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header::AUTHORIZATION};
use serde_json::Value;
use tracing::debug;

use super::{
    FetchError,
    patience::{FIRST_PAUSE, longer},
    waiting,
};

pub(crate) use answer::{chain, retry_after};
pub(crate) use tls::cause as tls_cause;

/// The longest document, and the longest answer that holds one; longer ones count as broken.
pub(crate) const MOST_DOCUMENT_BYTES: usize = 64 << 20;

/// A server that is asked over HTTP.
pub(crate) struct Http {
    client: reqwest::Client,
    base: Url,
    source: String,
    user: Option<String>,
    token: Option<Secret>,
    timeout: Duration,
    patience: Duration,
    clock: Mutex<Clock>,
}

/// What all requests to one server share.
#[derive(Debug)]
struct Clock {
    /// When something new came last.
    last_news: Instant,
    /// The server asked for silence until then.
    silent_until: Instant,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    method: Method,
    /// Below the base URL, percent-encoded, without the leading slash.
    path: String,
    body: Option<Value>,
    most_bytes: usize,
}

/// What came of a request, after all repetitions.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The body of a success.
    Body(Vec<u8>),
    /// The body is longer than was allowed; it was not read to its end.
    TooLong,
    /// The server does not serve this request, and will not do so later either.
    Refused {
        /// HTTP status.
        status: u16,
        /// What the server said.
        message: String,
    },
}

/// What came of one try.
enum Tried<T> {
    Done(T),
    Failed { problem: String, asked_pause: Option<Duration> },
}

impl fmt::Debug for Http {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Http").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Ask {
    /// `GET path`.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, most_bytes: MOST_DOCUMENT_BYTES }
    }

    /// `POST path` with a JSON body.
    pub(crate) fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, path: path.into(), body: Some(body), most_bytes: MOST_DOCUMENT_BYTES }
    }
}

impl Http {
    /// Prepares requests to the server of `source`; nothing is sent yet.
    ///
    /// # Errors
    /// [`FetchError::Refused`] when URL, token or certificates cannot be used.
    pub(crate) fn new(source: &str, settings: &RemoteSettings) -> Result<Self, FetchError> {
        let refuse = |problem: String| FetchError::Refused { source_name: source.to_owned(), problem };
        let section = section(source);
        let base =
            base_url(settings).map_err(|problem| refuse(format!("{problem}; correct {section}.url")))?;
        let token = match &settings.token_env {
            None => None,
            Some(name) => Some(token(name).map_err(|problem| {
                refuse(format!("{problem}; set it for the ingest-worker, or correct {section}.token_env"))
            })?),
        };
        let builder =
            tls::configure(reqwest::Client::builder(), settings, &base, &section).map_err(&refuse)?;
        let client = builder
            .connect_timeout(settings.timeout.0)
            .build()
            .map_err(|error| refuse(format!("no client can be made: {}", answer::chain(&error))))?;
        let now = Instant::now();
        Ok(Self {
            client,
            base,
            source: source.to_owned(),
            user: settings.user.clone(),
            token,
            timeout: settings.timeout.0,
            patience: settings.patience.0,
            clock: Mutex::new(Clock { last_news: now, silent_until: now }),
        })
    }

    /// Something new came, or a new page begins: patience starts anew.
    pub(crate) fn news(&self) {
        self.clock.lock().last_news = Instant::now();
        waiting::answered();
    }

    /// Asks until there is an answer.
    ///
    /// # Errors
    /// [`FetchError::Unavailable`] when nothing new came for as long as the settings allow; [`FetchError::Refused`]
    /// when the server or its certificate refuses every request.
    pub(crate) async fn ask(&self, ask: &Ask) -> Result<Answer, FetchError> {
        let mut pause = FIRST_PAUSE;
        loop {
            self.keep_silence().await;
            let tried = match tokio::time::timeout(self.timeout, self.whole(ask)).await {
                Ok(tried) => tried?,
                Err(_) => self.too_slow(),
            };
            match tried {
                Tried::Done(answer) => return Ok(answer),
                Tried::Failed { problem, asked_pause } => {
                    self.rest(&problem, asked_pause, &mut pause).await?;
                }
            }
        }
    }

    /// Asks until there is an answer whose body can be read bit by bit; `Err` within is a refusal.
    ///
    /// # Errors
    /// As [`Http::ask`].
    pub(crate) async fn begin(&self, ask: &Ask) -> Result<Result<Response, Answer>, FetchError> {
        let mut pause = FIRST_PAUSE;
        loop {
            self.keep_silence().await;
            let tried = match tokio::time::timeout(self.timeout, self.head(ask)).await {
                Ok(tried) => tried?,
                Err(_) => self.too_slow(),
            };
            match tried {
                Tried::Done(answer) => return Ok(answer),
                Tried::Failed { problem, asked_pause } => {
                    self.rest(&problem, asked_pause, &mut pause).await?;
                }
            }
        }
    }

    /// The next bytes of an answer that [`Http::begin`] gave, `None` at its end.
    ///
    /// # Errors
    /// What is wrong, when the connection ends early or stays silent; the request may be repeated.
    pub(crate) async fn next_bytes(&self, response: &mut Response) -> Result<Option<bytes::Bytes>, String> {
        match tokio::time::timeout(self.timeout, response.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(format!("the answer ended early ({})", answer::chain(&error))),
            Err(_) => Err(format!("the answer stood still for {:?}", self.timeout)),
        }
    }

    /// Pauses before a repetition; `pause` doubles.
    ///
    /// # Errors
    /// [`FetchError::Unavailable`] when the pause would go beyond the patience of the settings.
    pub(crate) async fn rest(
        &self,
        problem: &str,
        asked: Option<Duration>,
        pause: &mut Duration,
    ) -> Result<(), FetchError> {
        let wait = asked.unwrap_or_default().max(*pause);
        *pause = longer(*pause);
        let until = Instant::now() + wait;
        let last_news = {
            let mut clock = self.clock.lock();
            if asked.is_some() {
                clock.silent_until = clock.silent_until.max(until);
            }
            clock.last_news
        };
        if until.duration_since(last_news) > self.patience {
            return Err(self.unavailable(problem));
        }
        waiting::asked_again(problem, (last_news + self.patience).into());
        debug!(pause_ms = wait.as_millis(), "{} is asked again: {problem}", self.source);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Whether nothing new came for as long as the settings allow.
    ///
    /// # Errors
    /// [`FetchError::Unavailable`] then.
    pub(crate) fn check_patience(&self, problem: &str) -> Result<(), FetchError> {
        let silence = self.clock.lock().last_news.elapsed();
        if silence > self.patience { Err(self.unavailable(problem)) } else { Ok(()) }
    }

    /// The error of a server that serves nothing of the kind, with what to do.
    pub(crate) fn refused(&self, problem: impl Into<String>) -> FetchError {
        FetchError::Refused { source_name: self.source.clone(), problem: problem.into() }
    }

    /// Where the settings of the server lie, e.g. `[sources.gesetze]`.
    pub(crate) fn section(&self) -> String {
        section(&self.source)
    }

    fn unavailable(&self, problem: &str) -> FetchError {
        FetchError::Unavailable {
            source_name: self.source.clone(),
            problem: format!(
                "nothing new came from {} for {:?}, last because {problem}; check that the server runs and can be reached \
                 from here, or raise {}.patience",
                place(&self.base),
                self.patience,
                self.section()
            ),
        }
    }

    /// Waits until the server may be asked again; this is no part of the wait for an answer.
    async fn keep_silence(&self) {
        let silent_until = self.clock.lock().silent_until;
        tokio::time::sleep_until(silent_until.into()).await;
    }

    fn too_slow<T>(&self) -> Tried<T> {
        let problem = format!("there was no whole answer within {:?}", self.timeout);
        Tried::Failed { problem, asked_pause: None }
    }

    /// One try with the whole body.
    async fn whole(&self, ask: &Ask) -> Result<Tried<Answer>, FetchError> {
        let mut response = match self.head(ask).await? {
            Tried::Done(Ok(response)) => response,
            Tried::Done(Err(answer)) => return Ok(Tried::Done(answer)),
            Tried::Failed { problem, asked_pause } => return Ok(Tried::Failed { problem, asked_pause }),
        };
        let read = answer::read(&mut response, ask.most_bytes).await;
        Ok(match read {
            Ok(Some(body)) => Tried::Done(Answer::Body(body)),
            Ok(None) => Tried::Done(Answer::TooLong),
            Err(problem) => Tried::Failed { problem, asked_pause: None },
        })
    }

    /// One try up to the headers of a success.
    async fn head(&self, ask: &Ask) -> Result<Tried<Result<Response, Answer>>, FetchError> {
        let mut response = match self.request(ask)?.send().await {
            Ok(response) => response,
            Err(error) => {
                return match tls::remedy(&error, &self.section()) {
                    Some(remedy) => {
                        let problem =
                            format!("{} is not trusted ({})", place(&self.base), answer::chain(&error));
                        Err(self.refused(format!("{problem}; {remedy}")))
                    }
                    None => Ok(Tried::Failed { problem: answer::chain(&error), asked_pause: None }),
                };
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(Tried::Done(Ok(response)));
        }
        let asked_pause = answer::retry_after(response.headers());
        let body =
            answer::read(&mut response, answer::MOST_ERROR_BYTES).await.ok().flatten().unwrap_or_default();
        let message = answer::message(&body).unwrap_or_else(|| "it gives no reason".to_owned());
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(self.unauthorised(status, &message))
            }
            StatusCode::TOO_MANY_REQUESTS => {
                let asked = asked_pause.or_else(|| answer::retry_after_seconds(&body)).unwrap_or_default();
                let problem = format!("status {}: {message}", status.as_u16());
                Ok(Tried::Failed { problem, asked_pause: Some(asked) })
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => {
                Ok(Tried::Failed { problem: format!("status {}: {message}", status.as_u16()), asked_pause })
            }
            _ if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                Ok(Tried::Failed { problem: format!("status {}: {message}", status.as_u16()), asked_pause })
            }
            _ => Ok(Tried::Done(Err(Answer::Refused { status: status.as_u16(), message }))),
        }
    }

    fn request(&self, ask: &Ask) -> Result<RequestBuilder, FetchError> {
        let url = self
            .base
            .join(&ask.path)
            .map_err(|error| self.refused(format!("no URL can be made: {error}")))?;
        let request = self.client.request(ask.method.clone(), url);
        let request = match (&self.user, &self.token) {
            (Some(user), password) => request.basic_auth(user, password.as_ref().map(Secret::reveal)),
            (None, Some(token)) => request.header(AUTHORIZATION, format!("Bearer {}", token.reveal())),
            (None, None) => request,
        };
        Ok(match &ask.body {
            Some(body) => request.json(body),
            None => request,
        })
    }

    fn unauthorised(&self, status: StatusCode, message: &str) -> FetchError {
        let section = self.section();
        let given = match (&self.user, &self.token) {
            (None, None) => format!("no token was sent; name its variable in {section}.token_env"),
            _ => format!(
                "the token or password may be wrong, expired or short of rights; renew what {section}.token_env names"
            ),
        };
        self.refused(format!("{} answers {}: {message}; {given}", place(&self.base), status.as_u16()))
    }
}

/// A text as one part of a path: all but letters, digits and `-._~:` percent-encoded. A colon stays, since some servers
/// do not decode what they are sent.
pub(crate) fn encode(text: &str) -> String {
    let part = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(part).collect()
}

/// Where the settings of a source lie, e.g. `[sources.gesetze]`.
pub(crate) fn section(source: &str) -> String {
    format!("[sources.{}]", source.trim_start_matches('@'))
}

fn base_url(settings: &RemoteSettings) -> Result<Url, String> {
    let given = settings.url.as_ref().map(Secret::reveal).unwrap_or_default();
    let base = Url::parse(&format!("{}/", given.trim_end_matches('/')))
        .map_err(|error| format!("the URL cannot be used ({error})"))?;
    match base.scheme() {
        "http" | "https" => Ok(base),
        other => Err(format!("expected a URL that begins with http:// or https://, found {other}")),
    }
}

fn token(name: &str) -> Result<Secret, String> {
    let token = std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))?;
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("the environment variable {name} holds no token"));
    }
    Ok(Secret::new(token))
}

/// A URL without user, password and path.
fn place(base: &Url) -> String {
    let port = base.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", base.scheme(), base.host_str().unwrap_or_default())
}
