//! How long a server that fails is asked again: with pauses that double, until nothing new came for too long.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use super::waiting;

/// Pause before the first repetition.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause that is chosen by us; a server may ask for longer ones.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The patience with whoever is asked for one thing at a time.
#[derive(Debug)]
pub(super) struct Patience {
    most: Duration,
    newest: Instant,
    pause: Duration,
}

impl Patience {
    /// Patience that ends when nothing new came for `most`.
    pub(super) fn new(most: Duration) -> Self {
        Self { most, newest: Instant::now(), pause: FIRST_PAUSE }
    }

    /// Something new came: patience and pauses begin anew.
    pub(super) fn news(&mut self) {
        (self.newest, self.pause) = (Instant::now(), FIRST_PAUSE);
        waiting::answered();
    }

    /// When it ends unless something new comes.
    pub(super) fn ends_at(&self) -> Instant {
        self.newest + self.most
    }

    /// How long to wait before the next repetition, at least as long as was `asked` for; `None` when patience would end meanwhile.
    pub(super) fn wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let wait = asked.unwrap_or_default().max(self.pause);
        if self.newest.elapsed() + wait > self.most {
            return None;
        }
        self.pause = longer(self.pause);
        Some(wait)
    }
}

/// The pause after this one.
pub(super) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}
