//! The share of the last minute in which this process trained or generated.
#![expect(clippy::disallowed_macros, reason = "this records one of the metrics")]

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use clara_lifecycle::stage::Stage;
use parking_lot::Mutex;

/// How far back the share looks.
const WINDOW: Duration = Duration::from_mins(1);

/// `None` in processes that carry out no such attempts.
static BUSY: Mutex<Option<BusyTime>> = Mutex::new(None);

/// When at least one attempt was carried out.
#[derive(Debug, Default)]
struct BusyTime {
    running: usize,
    since: Option<Instant>,
    /// Oldest first.
    over: VecDeque<Spell>,
}

/// Busy times that are over and that began within one second, so that short attempts take little room.
#[derive(Debug, Clone, Copy)]
struct Spell {
    began: Instant,
    ended: Instant,
    busy: Duration,
}

impl Spell {
    fn of(began: Instant, ended: Instant) -> Self {
        Self { began, ended, busy: ended.duration_since(began) }
    }

    /// What of it lies in the window before `now`.
    fn within(self, now: Instant) -> Duration {
        let from = now.duration_since(self.began).min(WINDOW);
        from.saturating_sub(now.duration_since(self.ended)).min(self.busy)
    }
}

impl BusyTime {
    fn began(&mut self, now: Instant) {
        self.running += 1;
        self.since.get_or_insert(now);
    }

    fn ended(&mut self, now: Instant) {
        self.running = self.running.saturating_sub(1);
        if self.running > 0 {
            return;
        }
        let Some(began) = self.since.take() else { return };
        let spell = Spell::of(began, now);
        match self.over.back_mut() {
            Some(last) if began.duration_since(last.began) < Duration::from_secs(1) => {
                last.ended = now;
                last.busy += spell.busy;
            }
            _ => self.over.push_back(spell),
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while self.over.front().is_some_and(|spell| now.duration_since(spell.ended) >= WINDOW) {
            self.over.pop_front();
        }
    }

    fn ratio(&mut self, now: Instant) -> f64 {
        self.forget(now);
        let current = self.since.map(|began| Spell::of(began, now));
        let busy: Duration = self.over.iter().copied().chain(current).map(|spell| spell.within(now)).sum();
        (busy.as_secs_f64() / WINDOW.as_secs_f64()).min(1.0)
    }
}

fn counts(stage: Stage) -> bool {
    matches!(stage, Stage::Train | Stage::Generate)
}

/// Attempts of `stage` may come: from now on the metric is shown.
pub(super) fn may_begin(stage: Stage) {
    if counts(stage) {
        BUSY.lock().get_or_insert_default();
    }
}

/// An attempt began.
pub(super) fn began(stage: Stage) {
    if counts(stage) {
        BUSY.lock().get_or_insert_default().began(Instant::now());
    }
}

/// An attempt ended.
pub(super) fn ended(stage: Stage) {
    if counts(stage) {
        BUSY.lock().get_or_insert_default().ended(Instant::now());
    }
}

/// Records the share as it is now.
pub(super) fn show() {
    if let Some(busy) = BUSY.lock().as_mut() {
        metrics::gauge!(super::GPU_BUSY).set(busy.ratio(Instant::now()));
    }
}

#[cfg(test)]
mod tests;
