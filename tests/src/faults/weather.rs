//! What goes wrong at the moment, and the seeded chances that decide when.

use std::{sync::Arc, time::Duration};

use clara_lifecycle::{statistics::SplitMix64, time::Timestamp};
use clara_runtime::clock::Clock;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Chances in percent, and outages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Weather {
    /// Calls whose request is lost.
    pub(super) lost_requests: usize,
    /// Calls that are carried out and whose answer is lost.
    pub(super) lost_answers: usize,
    /// Requests to coordinators that arrive twice.
    pub(super) doubled_requests: usize,
    /// Requests to coordinators that arrive late, some of them after the lease.
    pub(super) late_requests: usize,
    /// Confirmed tasks that vanish.
    pub(super) lost_tasks: usize,
    /// Tasks that are published several times.
    pub(super) doubled_tasks: usize,
    /// Tasks that overtake others.
    pub(super) late_tasks: usize,
    /// Attempts that fail, panic or hang.
    pub(super) bad_attempts: usize,
    /// Whether the broker is away.
    pub(super) no_broker: bool,
    /// Whether the state store is away.
    pub(super) no_state: bool,
}

/// The weather and the dice of a trial; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Sky {
    weather: Arc<Mutex<Weather>>,
    dice: Arc<Mutex<SplitMix64>>,
}

impl Sky {
    /// Calm, with the dice of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { weather: Arc::default(), dice: Arc::new(Mutex::new(SplitMix64::new(seed))) }
    }

    pub(super) fn now(&self) -> Weather {
        *self.weather.lock()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.weather.lock());
    }

    /// Whether something happens that happens `percent` of the time. What never happens throws no dice.
    pub(super) fn strikes(&self, percent: usize) -> bool {
        percent > 0 && self.below(100) < percent
    }

    /// A number below `limit`.
    pub(super) fn below(&self, limit: usize) -> usize {
        self.dice.lock().below(limit.max(1))
    }

    /// A duration between two.
    pub(super) fn between(&self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.dice.lock().unit())
    }

    /// One of `all`.
    pub(super) fn one_of<'a, T>(&self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }

    /// Lets a time between two pass.
    pub(super) async fn pass(&self, least_ms: u64, most_ms: u64) {
        let wait = self.between(Duration::from_millis(least_ms), Duration::from_millis(most_ms));
        tokio::time::sleep(wait).await;
    }
}

/// A clock that follows the runtime's time, which stands still while there is something to do.
#[derive(Debug)]
pub(super) struct SimulatedClock(Instant);

impl SimulatedClock {
    /// A clock that begins now.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000).after(self.0.elapsed())
    }
}
