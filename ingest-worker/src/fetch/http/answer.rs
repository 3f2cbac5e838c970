//! Reads what servers say: bodies up to a limit, pauses they ask for, and errors in whichever shape.

use std::{error::Error, time::Duration};

use reqwest::{
    Response,
    header::{HeaderMap, RETRY_AFTER},
};
use serde_json::Value;

/// So much of an error's body is read.
pub(super) const MOST_ERROR_BYTES: usize = 64 << 10;
/// So much of a server's message is shown.
const MOST_MESSAGE_CHARS: usize = 300;
/// Where servers put their messages, most telling first.
const MESSAGE_FIELDS: [&str; 5] = ["message", "reason", "error", "detail", "code"];

/// The whole body; `None` when it is longer than `most_bytes`.
///
/// # Errors
/// What is wrong when it ends early.
pub(super) async fn read(response: &mut Response, most_bytes: usize) -> Result<Option<Vec<u8>>, String> {
    if response.content_length().is_some_and(|length| length > most_bytes as u64) {
        return Ok(None);
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) if body.len() + bytes.len() > most_bytes => return Ok(None),
            Ok(Some(bytes)) => body.extend_from_slice(&bytes),
            Ok(None) => return Ok(Some(body)),
            Err(error) => return Err(format!("the answer ended early ({})", chain(&error))),
        }
    }
}

/// The pause that a `Retry-After` asks for in seconds; dates are left to our own pauses.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The same in the body, as ThemisDB has it.
pub(super) fn retry_after_seconds(body: &[u8]) -> Option<Duration> {
    let value: Value = serde_json::from_slice(body).ok()?;
    Duration::try_from_secs_f64(value.get("retry_after_seconds")?.as_f64()?).ok()
}

/// What an error's body says, in any of the shapes that are known; `None` when it says nothing that can be shown.
pub(crate) fn message(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let found = MESSAGE_FIELDS.iter().find_map(|field| match value.get(field) {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text.trim()),
        Some(Value::Object(inner)) => inner.get("message").and_then(Value::as_str),
        _ => None,
    })?;
    Some(
        found
            .chars()
            .map(|found| if found.is_control() { ' ' } else { found })
            .take(MOST_MESSAGE_CHARS)
            .collect(),
    )
}

/// An error with its causes, without the URL, which may hold secrets.
pub(crate) fn chain(error: &reqwest::Error) -> String {
    let mut text =
        if error.is_connect() { "no connection".to_owned() } else { "the request failed".to_owned() };
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
