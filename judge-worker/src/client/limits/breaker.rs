//! Leaves an endpoint alone that fails again and again, and tries it with one call from time to time.

use std::time::Duration;

use clara_runtime::metrics;
use tokio::time::Instant;

/// Failures in a row after which an endpoint is left alone.
const FAILURES: u32 = 10;
/// How long at first; doubles with every failed try.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whether calls go through.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    state: State,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// They do.
    #[default]
    Closed,
    /// None does before `until`; then one, as a probe.
    Open { until: Instant, pause: Duration },
    /// One is on its way; the others wait for what comes of it.
    Probing { pause: Duration },
}

impl Breaker {
    /// How many failures in a row opened it, while it is not closed.
    pub(super) fn open_after(&self) -> Option<u32> {
        match self.state {
            State::Closed => None,
            State::Open { .. } | State::Probing { .. } => Some(self.failures),
        }
    }

    /// Lets a call through, or tells when to look again; `None` for after the next change.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Option<Instant>> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until, .. } if until > now => Err(Some(until)),
            State::Open { pause, .. } => {
                self.state = State::Probing { pause };
                Ok(())
            }
            State::Probing { .. } => Err(None),
        }
    }

    /// The endpoint answered.
    pub(super) fn succeeded(&mut self) {
        if self.open_after().is_some() {
            tracing::info!("the judge's endpoint answers again");
        }
        *self = Self::default();
    }

    /// The endpoint failed.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let pause = match self.state {
            State::Closed if self.failures < FAILURES => return,
            State::Closed => FIRST_PAUSE,
            State::Probing { pause } => pause.saturating_mul(2).min(LONGEST_PAUSE),
            // A call that went before it opened.
            State::Open { .. } => return,
        };
        let (failures, pause_ms) = (self.failures, pause.as_millis());
        tracing::warn!(
            failures,
            pause_ms,
            "the judge's endpoint fails again and again; leaving it alone for a while"
        );
        metrics::judge_broke();
        self.state = State::Open { until: now + pause, pause };
    }

    /// A call was dropped, and nobody knows what came of it.
    pub(super) fn forgot(&mut self, now: Instant) {
        if let State::Probing { pause } = self.state {
            self.state = State::Open { until: now, pause };
        }
    }
}
