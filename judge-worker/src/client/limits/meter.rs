//! Rates: ours, by an even spacing of what is taken, and the endpoint's, by the headers that it sends.

use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::time::Instant;

/// What may be caught up after a late start; small, so that a minute never holds much more than its limit.
const CATCH_UP: Duration = Duration::from_millis(250);

/// Spaces what is taken evenly (a generic cell rate algorithm).
#[derive(Debug, Default)]
pub(super) struct Meter {
    next: Option<Instant>,
}

impl Meter {
    /// When the next may be taken; nothing when now is fine.
    pub(super) fn ready_at(&self, per_minute: u32) -> Option<Instant> {
        self.next.filter(|_| per_minute > 0)
    }

    /// Takes so many units.
    pub(super) fn take(&mut self, units: f64, per_minute: u32, now: Instant) {
        if per_minute == 0 {
            return;
        }
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        let from = self.next.map_or(now, |next| next.max(earliest));
        self.next = Some(from + time_of(units, per_minute));
    }

    /// So many units more than assumed were taken; fewer when negative.
    pub(super) fn correct(&mut self, units: f64, per_minute: u32) {
        let Some(next) = self.next.filter(|_| per_minute > 0) else { return };
        let time = time_of(units.abs(), per_minute);
        self.next = if units < 0.0 { next.checked_sub(time) } else { next.checked_add(time) };
    }
}

fn time_of(units: f64, per_minute: u32) -> Duration {
    Duration::try_from_secs_f64(units.max(0.0) * 60.0 / f64::from(per_minute)).unwrap_or(Duration::ZERO)
}

/// What an endpoint tells of its own limit: how much is left, and until when.
#[derive(Debug, Default)]
pub(super) struct Told {
    left: Option<(f64, Instant)>,
}

impl Told {
    /// When so many units may be taken; nothing when now is fine.
    pub(super) fn ready_at(&self, units: f64) -> Option<Instant> {
        // More than the whole limit can never be left: then something is asked for all the same.
        self.left.filter(|(left, _)| *left < units).map(|(_, until)| until)
    }

    /// Takes so many units.
    pub(super) fn take(&mut self, units: f64) {
        if let Some((left, _)) = &mut self.left {
            *left -= units;
        }
    }

    /// Reads the headers of an answer; an endpoint that sends none has no limit to tell.
    pub(super) fn hear(&mut self, headers: &HeaderMap, kind: &str, now: Instant) {
        let header = |what: &str| {
            let value = headers.get(format!("x-ratelimit-{what}-{kind}"))?;
            Some(value.to_str().ok()?.trim())
        };
        let left = header("remaining").and_then(|left| left.parse::<f64>().ok());
        let reset = header("reset").and_then(span);
        self.left = left.zip(reset).map(|(left, reset)| (left, now + reset));
    }
}

/// A span as endpoints write it: `1s`, `6m0s`, `20ms`, or seconds without a unit.
pub(super) fn span(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let (mut seconds, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let factor = match unit {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok()
}
