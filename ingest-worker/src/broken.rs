//! Counts broken lines and ends the stage when there are too many of them.

use tracing::warn;

use crate::{error::IngestError, share::share, source::Broken};

/// So many broken lines are logged and named in the error; all of them are in `dropped.jsonl.zst`.
const NAMED: usize = 5;

/// The broken lines of one pass over the sources.
#[derive(Debug, Default)]
pub(crate) struct BrokenLines {
    count: u64,
    first: Vec<String>,
}

impl BrokenLines {
    /// Counts one and remembers it when it is among the first.
    pub(crate) fn add(&mut self, broken: &Broken) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(format!("{}: {}", broken.origin, broken.problem));
        }
    }

    /// Logs the first ones, without their content.
    pub(crate) fn log(&self) {
        for broken in &self.first {
            warn!(broken_lines = self.count, "left out a broken line, {broken}");
        }
    }

    /// Refuses a share of broken lines above `limit` (0–1).
    pub(crate) fn check(&self, read: u64, limit: f64) -> Result<(), IngestError> {
        if share(self.count, read) <= limit {
            return Ok(());
        }
        Err(IngestError::TooManyBroken { broken: self.count, read, limit, first: self.first.join("; ") })
    }
}
