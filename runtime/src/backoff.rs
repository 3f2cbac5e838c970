//! Waits that double up to a limit.

use std::time::Duration;

use uuid::Uuid;

/// The next wait after a failure.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits `first`, then twice as long each time, at most `limit`.
    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, next: first }
    }

    /// Something worked: begin anew.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// How long to wait now.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.limit);
        wait
    }

    /// The same at random between half of it and all of it, so that many processes do not come back at one moment.
    pub(crate) fn next_spread_wait(&mut self) -> Duration {
        let (random, ..) = Uuid::new_v4().as_fields();
        self.next_wait().mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
    }
}
