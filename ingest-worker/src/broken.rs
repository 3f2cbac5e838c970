//! Counts broken documents and ends the stage when there are too many of them.

use tracing::warn;

use crate::{error::IngestError, share::share, source::Broken};

/// So many broken documents are logged and named in the error; all of them are in `dropped.jsonl.zst`.
const NAMED: usize = 5;

/// The broken documents of one pass over the sources.
#[derive(Debug, Default)]
pub(crate) struct BrokenDocuments {
    count: u64,
    first: Vec<String>,
}

impl BrokenDocuments {
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
            warn!(broken_documents = self.count, "left out a broken document, {broken}");
        }
    }

    /// Refuses a share of broken documents above `limit` (0–1).
    pub(crate) fn check(&self, read: u64, limit: f64) -> Result<(), IngestError> {
        if share(self.count, read) <= limit {
            return Ok(());
        }
        Err(IngestError::TooManyBroken { broken: self.count, read, limit, first: self.first.join("; ") })
    }
}
