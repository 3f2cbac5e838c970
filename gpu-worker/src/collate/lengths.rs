//! How long the records are: a histogram of their tokens.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Shortest upper limit of a bin, in tokens.
const FIRST_LIMIT: u64 = 32;

/// Records by their length in tokens, before anything is cut; the limits of the bins double.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LengthHistogram(Vec<LengthBin>);

/// Records of some lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LengthBin {
    /// Most tokens of a record in this bin; the bin below ends under its least.
    pub up_to: u64,
    /// How many records.
    pub records: u64,
}

impl LengthHistogram {
    /// Counts a record of `tokens` tokens.
    pub fn add(&mut self, tokens: usize) {
        loop {
            if let Some(bin) = self.0.iter_mut().find(|bin| tokens as u64 <= bin.up_to) {
                bin.records += 1;
                return;
            }
            let up_to = self.0.last().map_or(FIRST_LIMIT, |bin| bin.up_to.saturating_mul(2));
            self.0.push(LengthBin { up_to, records: 0 });
        }
    }

    /// The bins, shortest records first.
    pub fn bins(&self) -> &[LengthBin] {
        &self.0
    }
}

impl fmt::Display for LengthHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut from, mut comma) = (0, "");
        for bin in &self.0 {
            if bin.records > 0 {
                write!(f, "{comma}{from}–{}: {}", bin.up_to, bin.records)?;
                comma = ", ";
            }
            from = bin.up_to + 1;
        }
        Ok(())
    }
}
