//! What goes wrong between server and client, drawn by a seed: the same request fails the same way in the same order.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use futures::{StreamExt as _, stream};
use serde_json::json;

use super::Quirks;

/// Which faults happen, each to so many of 1,000 requests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) seed: u64,
    /// 429, with `Retry-After`.
    pub(crate) too_many: u64,
    /// 503.
    pub(crate) down: u64,
    /// The connection is cut in the middle of the body.
    pub(crate) cut: u64,
    /// The body comes byte by byte.
    pub(crate) slow: u64,
    /// The body stops and never goes on.
    pub(crate) hang: u64,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    TooMany,
    Down,
    Cut,
    Slow,
    Hang,
}

/// Counts requests for the rate limit.
#[derive(Debug, Default)]
pub(crate) struct Window {
    began: Option<Instant>,
    requests: u64,
}

impl Faults {
    /// A storm of everything that passes.
    pub(crate) fn storm(seed: u64) -> Self {
        Self { seed, too_many: 40, down: 30, cut: 40, slow: 30, hang: 0 }
    }

    /// What happens to the `count`th request for this path and body.
    pub(crate) fn draw(&self, path: &str, body: &[u8], count: u64) -> Fault {
        let mut hasher = DefaultHasher::new();
        (self.seed, path, body, count).hash(&mut hasher);
        let mut drawn = hasher.finish() % 1000;
        let kinds = [
            (self.too_many, Fault::TooMany),
            (self.down, Fault::Down),
            (self.cut, Fault::Cut),
            (self.slow, Fault::Slow),
            (self.hang, Fault::Hang),
        ];
        for (share, fault) in kinds {
            if drawn < share {
                return fault;
            }
            drawn -= share;
        }
        Fault::None
    }
}

impl Fault {
    /// The answer that comes instead of the right one.
    pub(crate) fn instead(self) -> Option<Response> {
        match self {
            Self::TooMany => Some(too_many("0")),
            Self::Down => {
                let body = json!({ "error": true, "message": "Database busy", "status_code": 503 });
                Some((StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response())
            }
            Self::None | Self::Cut | Self::Slow | Self::Hang => None,
        }
    }

    /// The right answer, as it comes through.
    pub(crate) async fn deform(self, answer: Response) -> Response {
        if !matches!(self, Self::Cut | Self::Slow | Self::Hang) {
            return answer;
        }
        let (mut parts, body) = answer.into_parts();
        parts.headers.remove("content-length");
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let half = body.slice(..body.len() / 2);
        let body = match self {
            Self::Cut => {
                let cut = Err(io::Error::other("cut"));
                Body::from_stream(stream::iter([Ok::<Bytes, io::Error>(half), cut]))
            }
            Self::Hang => {
                Body::from_stream(stream::iter([Ok::<Bytes, io::Error>(half)]).chain(stream::pending()))
            }
            Self::None | Self::TooMany | Self::Down | Self::Slow => {
                let pieces: Vec<Bytes> =
                    body.chunks(body.len() / 8 + 1).map(Bytes::copy_from_slice).collect();
                Body::from_stream(stream::iter(pieces).then(|piece| async {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    Ok::<Bytes, io::Error>(piece)
                }))
            }
        };
        Response::from_parts(parts, body)
    }
}

impl Window {
    /// Counts a request; the answer when there were too many.
    pub(crate) fn refuse(&mut self, quirks: &Quirks) -> Option<Response> {
        let most = quirks.requests_per_window?;
        if self.began.is_none_or(|began| began.elapsed() > quirks.window) {
            *self = Self { began: Some(Instant::now()), requests: 0 };
        }
        self.requests += 1;
        (self.requests > most).then(|| too_many(&quirks.window.as_secs_f64().to_string()))
    }
}

fn too_many(seconds: &str) -> Response {
    let body = json!({
        "error": "Too Many Requests", "message": "Rate limit exceeded. Please try again later.",
        "retry_after_seconds": seconds.parse::<f64>().unwrap_or_default(), "status_code": 429,
    });
    (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_owned())], axum::Json(body)).into_response()
}
