//! How a trial went, simulated or real.

use std::{fmt, time::Duration};

use anyhow::{Context, Result};

use super::{
    invariants::{Invariant, Violation},
    journal::Cost,
};

/// How a trial of the case `C` went.
#[derive(Debug, Clone)]
pub struct Outcome<C> {
    /// Everything in the trial follows from it.
    pub seed: u64,
    /// What the trial was about.
    pub case: C,
    /// Jobs that were accepted.
    pub jobs: usize,
    /// Invariants that do not hold.
    pub violations: Vec<Violation>,
    /// What the case itself promises and was not so, e.g. that a drain loses no steps.
    pub unmet: Vec<String>,
    /// What the faults cost.
    pub cost: Cost,
    /// Tasks that the broker set aside because they came too often.
    pub dead_letters: u64,
    /// How long it took, by the clock of the trial.
    pub took: Duration,
}

impl<C> Outcome<C> {
    /// Whether everything that must hold held.
    pub fn is_sound(&self) -> bool {
        self.violations.is_empty() && self.unmet.is_empty()
    }

    /// Accepted jobs that did not end, or ended more than once.
    pub fn lost(&self) -> usize {
        self.violations.iter().filter(|found| found.invariant == Invariant::EndsOnce).count()
    }

    /// Results that were committed twice, or by an attempt that had lost its lease.
    pub fn double_commits(&self) -> usize {
        let counts =
            |found: &&Violation| matches!(found.invariant, Invariant::OneResult | Invariant::NewestFence);
        self.violations.iter().filter(counts).count()
    }

    /// Everything else that should have been otherwise.
    pub fn other_violations(&self) -> usize {
        self.violations.len() - self.lost() - self.double_commits() + self.unmet.len()
    }
}

impl<C: fmt::Display> fmt::Display for Outcome<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, case, violations, unmet, .. } = self;
        write!(formatter, "seed {seed} ({case}): {} violations", violations.len() + unmet.len())?;
        for found in violations {
            write!(formatter, "\n  {found}")?;
        }
        for found in unmet {
            write!(formatter, "\n  {found}")?;
        }
        write!(formatter, "\n  repeat: CLARA_FAULT_SEED={seed} CLARA_FAULT_TRIALS=1 make faults")
    }
}

/// Which trials a person asks for.
#[derive(Debug, Clone, Copy)]
pub struct Seeds {
    /// The seed of the first trial: `CLARA_FAULT_SEED`.
    pub first: u64,
    /// How many there are: `CLARA_FAULT_TRIALS`.
    pub trials: u64,
}

impl Seeds {
    /// What the environment says, else these.
    ///
    /// # Errors
    /// When it says something that is no number.
    pub fn asked_for(first: u64, trials: u64) -> Result<Self> {
        let first = setting("CLARA_FAULT_SEED", first)?;
        Ok(Self { first, trials: setting("CLARA_FAULT_TRIALS", trials)? })
    }
}

fn setting(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is `{text}`, expected a whole number")),
        Err(_) => Ok(default),
    }
}
