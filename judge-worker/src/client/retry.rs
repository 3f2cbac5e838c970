//! Which answers of an endpoint are worth another try, and after which pause.

use std::time::Duration;

use clara_lifecycle::time::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::CallError;

/// An endpoint that asks for a longer pause is given up.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(2);

/// How often and after which pauses a call is repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pacing {
    /// Tries in all, the first included.
    pub(crate) max_tries: u32,
    /// Pause before the second try; doubles from try to try.
    pub(crate) first_pause: Duration,
    /// Longest pause that is chosen by us.
    pub(crate) longest_pause: Duration,
}

/// What came of one try.
#[derive(Debug)]
pub(super) enum Attempted {
    /// An answer, whatever its status.
    Answered {
        /// HTTP status.
        status: u16,
        /// Its headers.
        headers: HeaderMap,
        /// Its body.
        body: String,
    },
    /// No answer.
    Failed(String),
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Another try after a pause.
    Pause {
        /// How long.
        pause: Duration,
        /// Why.
        because: String,
    },
    /// No more tries.
    GiveUp(Fault),
}

/// Why there are no more tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody answers, or only with requests to come later.
    Down(String),
    /// It fails for this request.
    ServerError(String),
    /// The account is used up.
    Quota(String),
    /// It refuses every call.
    Refused(u16, String),
    /// It does not accept this one request.
    Rejected { status: u16, detail: String, body: String },
}

impl Fault {
    /// The error of a call to `url` that was tried `tries` times.
    pub(super) fn at(self, url: &str, tries: u32) -> CallError {
        let url = url.to_owned();
        match self {
            Self::Down(detail) => CallError::Down { url, tries, detail },
            Self::ServerError(detail) => CallError::ServerError { url, detail },
            Self::Quota(detail) => CallError::Quota { url, detail },
            Self::Refused(status, detail) => CallError::Refused { url, status, detail },
            Self::Rejected { status, detail, body } => CallError::Rejected { status, detail, body },
        }
    }
}

impl Pacing {
    /// The pauses of the reference client: half a second, doubled, at most eight.
    pub(crate) fn patient(max_tries: u32) -> Self {
        Self { max_tries, first_pause: Duration::from_millis(500), longest_pause: Duration::from_secs(8) }
    }

    /// What to do after a try that gave no useful answer. `jitter` is 0–1.
    pub(super) fn judge(self, attempted: Attempted, tries: u32, now: Timestamp, jitter: f64) -> Verdict {
        let (status, headers, body) = match attempted {
            Attempted::Failed(detail) => return self.again_or(Fault::Down(detail), None, tries, jitter),
            Attempted::Answered { status, headers, body } => (status, headers, body),
        };
        let fault = fault(status, body);
        if !worth_another_try(status, &headers) || matches!(fault, Fault::Quota(_)) {
            return Verdict::GiveUp(fault);
        }
        match retry_after(&headers, now) {
            Some(pause) if pause > LONGEST_RETRY_AFTER => Verdict::GiveUp(Fault::Down(format!(
                "it asks to come back in {} s, more than the {} s that are waited",
                pause.as_secs(),
                LONGEST_RETRY_AFTER.as_secs()
            ))),
            pause => self.again_or(fault, pause, tries, jitter),
        }
    }

    /// What to do after an answer that is not what the API gives, such as the page of a proxy.
    pub(super) fn after_garbled(self, error: &serde_json::Error, tries: u32, jitter: f64) -> Verdict {
        let detail = format!("its answer is not what OpenAI's API gives ({error})");
        self.again_or(Fault::ServerError(detail), None, tries, jitter)
    }

    fn again_or(self, fault: Fault, pause: Option<Duration>, tries: u32, jitter: f64) -> Verdict {
        if tries >= self.max_tries {
            return Verdict::GiveUp(fault);
        }
        let because = format!("{fault:?}");
        Verdict::Pause { pause: pause.unwrap_or_else(|| self.pause(tries, jitter)), because }
    }

    /// The pause after `tries` tries: doubled each time, then shortened by up to a quarter, so that callers who
    /// were refused together do not come back together.
    fn pause(self, tries: u32, jitter: f64) -> Duration {
        let doublings = tries.saturating_sub(1).min(16);
        let pause = self.first_pause.saturating_mul(1 << doublings).min(self.longest_pause);
        pause.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
    }
}

fn worth_another_try(status: u16, headers: &HeaderMap) -> bool {
    match headers.get("x-should-retry").and_then(|value| value.to_str().ok()) {
        Some("true") => true,
        Some("false") => false,
        Some(_) | None => matches!(status, 408 | 409 | 429 | 500..),
    }
}

fn fault(status: u16, body: String) -> Fault {
    let (detail, code) = message(&body);
    let detail = format!("status {status}, {detail}");
    match status {
        402 => Fault::Quota(detail),
        429 if code.as_deref() == Some("insufficient_quota") => Fault::Quota(detail),
        408 | 409 | 429 | 502..=504 => Fault::Down(detail),
        500.. => Fault::ServerError(detail),
        400 | 413 | 422 => Fault::Rejected { status, detail, body },
        _ => Fault::Refused(status, detail),
    }
}

/// What an error body says, and its code, in the shapes that servers use.
fn message(body: &str) -> (String, Option<String>) {
    let parsed: Value = serde_json::from_str(body).unwrap_or_default();
    let error = parsed.get("error").unwrap_or(&parsed);
    let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
    let said =
        text("message").or_else(|| error.as_str().map(str::to_owned)).unwrap_or_else(|| body.to_owned());
    let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    let said = if said.is_empty() { "without a word".to_owned() } else { said };
    (said, text("code").or_else(|| text("type")))
}

/// The pause that an endpoint asks for: milliseconds, seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds =
        |text: &str| text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    if let Some(milliseconds) = header("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(milliseconds / 1000.0).ok();
    }
    let asked = header("retry-after")?;
    seconds(asked).or_else(|| {
        let until = DateTimeParser::new().parse_timestamp(asked).ok()?;
        Some(Timestamp(until.as_millisecond()).since(now))
    })
}

#[cfg(test)]
mod tests;
