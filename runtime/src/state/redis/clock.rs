//! The server's time between two of its answers.

use std::time::{Duration, Instant};

use clara_lifecycle::time::Timestamp;
use parking_lot::Mutex;

/// How long an answer's time is carried on by the monotonic clock of this machine.
const CARRIED_FOR: Duration = Duration::from_secs(1);

/// The server's time as it was last heard; never goes back.
#[derive(Debug, Default)]
pub(super) struct StoreClock(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    time: Timestamp,
    at: Option<Instant>,
    /// The newest time that anyone was told.
    told: Timestamp,
}

impl StoreClock {
    /// The server said that it is `time`.
    pub(super) fn observe(&self, time: Timestamp) {
        let mut heard = self.0.lock();
        if time >= heard.time {
            heard.time = time;
            heard.at = Some(Instant::now());
        }
        heard.told = heard.told.max(time);
    }

    /// The time, when the server said it shortly ago.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let mut heard = self.0.lock();
        let age = heard.at?.elapsed();
        let now = heard.time.after(age).max(heard.told);
        heard.told = now;
        (age < CARRIED_FOR).then_some(now)
    }

    /// The newest time that is known.
    pub(super) fn latest(&self) -> Timestamp {
        self.0.lock().told
    }
}
