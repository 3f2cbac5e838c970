//! How long a server has given nothing new, and when a checkpoint is due.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A checkpoint comes after so long at the latest, if anything new is there.
const SAVE_WITHIN: Duration = Duration::from_secs(30);
/// With many documents a checkpoint comes when they have grown by this part, so that all checkpoints together stay small.
const GROWTH: u64 = 64;

/// How long nothing new has come; the time in which nothing was asked for does not count.
#[derive(Debug)]
pub(super) struct Silence {
    most: Duration,
    newest: Mutex<Instant>,
}

impl Silence {
    pub(super) fn new(most: Duration) -> Self {
        Self { most, newest: Mutex::new(Instant::now()) }
    }

    /// Something new has come: it begins anew.
    pub(super) fn restart(&self) {
        *self.newest.lock() = Instant::now();
    }

    /// Nothing was asked for since `began`.
    pub(super) fn leave_out(&self, began: Instant) {
        let mut newest = self.newest.lock();
        *newest = (*newest + began.elapsed()).min(Instant::now());
    }

    /// Whether it lasts longer than allowed.
    pub(super) fn is_too_long(&self) -> bool {
        self.newest.lock().elapsed() > self.most
    }

    /// When it will be too long, unless something comes.
    pub(super) fn too_long_at(&self) -> Instant {
        *self.newest.lock() + self.most
    }

    /// The longest that is allowed.
    pub(super) fn most(&self) -> Duration {
        self.most
    }
}

/// When the next checkpoint is due.
#[derive(Debug)]
pub(super) struct Due {
    every: u64,
    saved: u64,
    at: Instant,
}

impl Due {
    /// The first one after `saved` documents were saved before.
    pub(super) fn new(every: u64, saved: u64) -> Self {
        Self { every: every.max(1), saved, at: Instant::now() }
    }

    /// Whether it is due now.
    pub(super) fn is_now(&self, documents: u64) -> bool {
        let new = documents.saturating_sub(self.saved);
        new >= self.every.max(self.saved / GROWTH) || (new > 0 && self.at.elapsed() >= SAVE_WITHIN)
    }

    /// When it is due for what came already, if anything did.
    pub(super) fn at(&self, documents: u64) -> Option<Instant> {
        (documents > self.saved).then(|| self.at + SAVE_WITHIN)
    }

    pub(super) fn done(&mut self, documents: u64) {
        (self.saved, self.at) = (documents, Instant::now());
    }
}
