//! How fast documents pass, and how long the rest will take.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use clara_runtime::{memory::resident_bytes, worker::ProgressSender};
use parking_lot::Mutex;

use crate::fetch::FetchProgress;

/// The rate is that of this time.
const WINDOW: Duration = Duration::from_secs(20);
/// At least so long lies between two points of the window.
const STEP: Duration = Duration::from_millis(500);
/// No rate is told over less time: a few documents within a moment would make it absurdly high.
const SHORTEST: Duration = Duration::from_secs(1);

/// The figures of one pass over the documents; a pass that begins anew is told by its count.
#[derive(Debug, Default)]
pub struct Figures(Mutex<Recent>);

/// Counts of the last moments, oldest first.
#[derive(Debug, Default)]
struct Recent(VecDeque<(Instant, u64)>);

/// How far a pass has come.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// Units done.
    pub done: u64,
    /// What the units are.
    pub unit: &'static str,
    /// Units in all, where known.
    pub total: Option<u64>,
    /// What was fetched for it, where it was.
    pub bytes: Option<u64>,
}

impl From<&FetchProgress<'_>> for Count {
    fn from(progress: &FetchProgress<'_>) -> Self {
        let FetchProgress { fetched, unit, total, bytes, .. } = *progress;
        Self { done: fetched, unit, total, bytes: Some(bytes) }
    }
}

impl Figures {
    /// Tells how far a pass has come.
    pub fn tell(&self, sender: &ProgressSender, count: Count) {
        let Count { done, unit, total, bytes } = count;
        let rate = self.0.lock().rate(Instant::now(), done);
        sender.update(|progress| {
            progress.done = done;
            progress.total = total;
            unit.clone_into(&mut progress.unit);
            progress.note.clear();
            let figures = [
                ("documents_per_second", rate.filter(|_| unit == "documents")),
                ("seconds_left", seconds_left(rate, done, total)),
                ("fetched_bytes", bytes.map(number)),
                ("resident_bytes", resident_bytes().map(number)),
            ];
            for (name, value) in figures {
                match value {
                    Some(value) => progress.figures.insert(name.to_owned(), value),
                    None => progress.figures.remove(name),
                };
            }
        });
    }
}

impl Recent {
    /// Documents per second of late, once that can be told.
    fn rate(&mut self, now: Instant, done: u64) -> Option<f64> {
        if self.0.back().is_some_and(|(_, newest)| done < *newest) {
            self.0.clear();
        }
        while self.0.len() > 2 && self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.0.pop_front();
        }
        if self.0.back().is_none_or(|(at, _)| now.duration_since(*at) >= STEP) {
            self.0.push_back((now, done));
        }
        let (began, before) = *self.0.front()?;
        let taken = now.duration_since(began);
        (taken >= SHORTEST).then(|| number(done - before) / taken.as_secs_f64())
    }
}

fn seconds_left(rate: Option<f64>, done: u64, total: Option<u64>) -> Option<f64> {
    let (rate, total) = (rate.filter(|rate| *rate > 0.0)?, total?);
    Some(number(total.saturating_sub(done)) / rate)
}

#[expect(clippy::cast_precision_loss, reason = "nothing is counted to 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}
