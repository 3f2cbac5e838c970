//! When the next call to an endpoint may go: calls in flight, calls and tokens per minute, what it tells, and its failures.

mod breaker;
mod meter;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use reqwest::header::HeaderMap;
use tokio::{sync::Notify, time::Instant};

use breaker::Breaker;
use meter::{Meter, Told};

/// How long a call waits for an endpoint that fails again and again before it fails too.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The most that may be asked of an endpoint, by one job or by all jobs of this process; 0 means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Calls in flight at once.
    pub concurrency: u32,
    /// Calls per minute.
    pub requests_per_minute: u32,
    /// Tokens per minute.
    pub tokens_per_minute: u32,
}

impl Allowance {
    /// The tighter of both, limit by limit. When every call to an endpoint keeps `other`, so do all of them together:
    /// calls are spaced one after another, whatever jobs they belong to.
    #[must_use]
    pub(crate) fn within(self, other: Self) -> Self {
        let tighter = |one: u32, two: u32| if one == 0 || two == 0 { one.max(two) } else { one.min(two) };
        Self {
            concurrency: tighter(self.concurrency, other.concurrency),
            requests_per_minute: tighter(self.requests_per_minute, other.requests_per_minute),
            tokens_per_minute: tighter(self.tokens_per_minute, other.tokens_per_minute),
        }
    }
}

/// What is known of one endpoint's load; shared by all jobs of the process.
#[derive(Debug, Default)]
pub(super) struct Limits {
    state: Mutex<State>,
    changed: Notify,
    /// First come, first served: only the first in the line looks at the state.
    line: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    in_flight: u32,
    requests: Meter,
    tokens: Meter,
    told_requests: Told,
    told_tokens: Told,
    breaker: Breaker,
    estimates: Estimates,
}

/// How far estimates of tokens are off, as a moving mean.
#[derive(Debug)]
struct Estimates {
    actual_per_estimated: f64,
}

impl Default for Estimates {
    fn default() -> Self {
        Self { actual_per_estimated: 1.0 }
    }
}

/// What one call would need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    /// The limits of its job and of this process.
    pub(super) allowance: Allowance,
    /// Tokens of the prompt and of the longest reply, estimated.
    pub(super) tokens: u64,
}

/// What came of an admitted call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Came<'a> {
    /// An answer with its headers, and the tokens that it took where they are known.
    Answer(&'a HeaderMap, Option<u64>),
    /// No answer, or an error of the server.
    Failure,
}

/// Why a call may not go at all: the endpoint failed so often in a row and is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    /// Failures in a row.
    pub(super) failures: u32,
}

/// The right to one call. It counts as in flight until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    limits: Arc<Limits>,
    need: Need,
    charged: f64,
    is_told: bool,
}

impl Limits {
    /// Waits until a call may go.
    ///
    /// # Errors
    /// [`Broken`] when the endpoint fails again and again for longer than a call waits.
    pub(super) async fn admit(self: &Arc<Self>, need: Need) -> Result<Permit, Broken> {
        let gives_up_at = Instant::now() + LONGEST_WAIT;
        let _first = self.line.lock().await;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let now = Instant::now();
            let until = {
                let mut state = self.state.lock();
                if let Some(failures) = state.breaker.open_after().filter(|_| now >= gives_up_at) {
                    return Err(Broken { failures });
                }
                match state.try_admit(need, now) {
                    Ok(tokens) => {
                        let limits = Arc::clone(self);
                        return Ok(Permit { limits, need, charged: tokens, is_told: false });
                    }
                    Err(until) if state.breaker.open_after().is_some() => {
                        Some(until.unwrap_or(gives_up_at).min(gives_up_at))
                    }
                    Err(until) => until,
                }
            };
            match until {
                Some(until) => drop(tokio::time::timeout_at(until, changed).await),
                None => changed.await,
            }
        }
    }
}

impl State {
    /// Takes what the call needs, in tokens as they are charged; or tells when to look again, `None` for after
    /// the next change.
    fn try_admit(&mut self, need: Need, now: Instant) -> Result<f64, Option<Instant>> {
        let most = need.allowance.concurrency;
        if most > 0 && self.in_flight >= most {
            return Err(None);
        }
        let Allowance { requests_per_minute, tokens_per_minute, .. } = need.allowance;
        let tokens = float(need.tokens) * self.estimates.actual_per_estimated;
        let waits = [
            self.requests.ready_at(requests_per_minute),
            self.tokens.ready_at(tokens_per_minute),
            self.told_requests.ready_at(1.0),
            self.told_tokens.ready_at(tokens),
        ];
        if let Some(until) = waits.into_iter().flatten().max().filter(|until| *until > now) {
            return Err(Some(until));
        }
        self.breaker.admit(now)?;
        self.requests.take(1.0, requests_per_minute, now);
        self.tokens.take(tokens, tokens_per_minute, now);
        self.told_requests.take(1.0);
        self.told_tokens.take(tokens);
        self.in_flight += 1;
        Ok(tokens)
    }
}

impl Permit {
    /// Tells what came of the call.
    pub(super) fn ended(mut self, came: Came<'_>) {
        let now = Instant::now();
        let mut state = self.limits.state.lock();
        match came {
            Came::Failure => state.breaker.failed(now),
            Came::Answer(headers, tokens) => {
                state.breaker.succeeded();
                state.told_requests.hear(headers, "requests", now);
                state.told_tokens.hear(headers, "tokens", now);
                if let Some(actual) = tokens {
                    let per_minute = self.need.allowance.tokens_per_minute;
                    state.tokens.correct(float(actual) - self.charged, per_minute);
                    let off = float(actual) / float(self.need.tokens.max(1));
                    let mean = &mut state.estimates.actual_per_estimated;
                    *mean += 0.2 * (off - *mean);
                }
            }
        }
        drop(state);
        self.is_told = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limits.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        if !self.is_told {
            state.breaker.forgot(Instant::now());
        }
        drop(state);
        self.limits.changed.notify_waiters();
    }
}

#[expect(clippy::cast_precision_loss, reason = "tokens of one call stay far below 2^53")]
fn float(tokens: u64) -> f64 {
    tokens as f64
}
