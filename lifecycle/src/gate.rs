//! The gate: scores become a decision with reason codes.

mod decide;
mod reason;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use decide::decide;
pub(crate) use decide::reaches;
pub use reason::ReasonCode;

/// How scores become a decision. Scores are 0–100.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatePolicy {
    /// Which rule decides.
    pub mode: GateMode,
    /// Mean score from which on a version is approved (inclusive).
    pub approve_at: f64,
    /// Mean score below which a version is rejected.
    pub review_at: f64,
    /// Score from which on a sample passes (inclusive).
    pub pass_at: f64,
    /// In bounds mode: least value of the one-sided lower 95 % bound for an approval.
    pub approve_lower_bound: f64,
    /// In bounds mode: how much worse than the champion a version may be.
    pub champion_margin: f64,
    /// In bounds mode: fewest scored samples for a decision.
    pub min_samples: u32,
    /// Share (0–1) of unscored samples beyond which the decision is `error`.
    pub max_unscored_share: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
}

/// Which rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateMode {
    /// Compares the mean with the thresholds.
    Point,
    /// Compares confidence bounds with the thresholds.
    Bounds,
}

impl Default for GatePolicy {
    fn default() -> Self {
        Self {
            mode: GateMode::Bounds,
            approve_at: 85.0,
            review_at: 70.0,
            pass_at: 70.0,
            approve_lower_bound: 80.0,
            champion_margin: 2.0,
            min_samples: 30,
            max_unscored_share: 0.05,
            seed: 42,
        }
    }
}

impl GatePolicy {
    /// The policy with another threshold for approval; the lower bound keeps its distance to it, so that a
    /// higher threshold asks for more evidence too.
    #[must_use]
    pub fn with_approve_at(self, threshold: f64) -> Self {
        let guard = self.approve_at - self.approve_lower_bound;
        Self { approve_at: threshold, approve_lower_bound: (threshold - guard).max(0.0), ..self }
    }

    /// Everything that is wrong with the policy, each with what was expected.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut require = |holds: bool, message: String| {
            if !holds {
                problems.push(message);
            }
        };
        let thresholds = [
            ("approve_at", self.approve_at),
            ("review_at", self.review_at),
            ("pass_at", self.pass_at),
            ("approve_lower_bound", self.approve_lower_bound),
        ];
        for (name, value) in thresholds {
            require((0.0..=100.0).contains(&value), format!("{name} is {value}; expected 0 to 100"));
        }
        for (name, value) in
            [("review_at", self.review_at), ("approve_lower_bound", self.approve_lower_bound)]
        {
            let message = format!("{name} is {value}; expected at most approve_at ({})", self.approve_at);
            require(value <= self.approve_at, message);
        }
        let margin = self.champion_margin;
        require((0.0..=100.0).contains(&margin), format!("champion_margin is {margin}; expected 0 to 100"));
        let fewest = self.min_samples;
        require(
            fewest >= 2,
            format!("min_samples is {fewest}; expected at least 2, one score has no bounds"),
        );
        let share = self.max_unscored_share;
        require((0.0..1.0).contains(&share), format!("max_unscored_share is {share}; expected 0 to below 1"));
        problems
    }
}

impl fmt::Display for GateMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Point => "point",
            Self::Bounds => "bounds",
        })
    }
}

/// What the gate decides on; scores are 0–100.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GateInput {
    /// Overall scores of the scored samples.
    pub scores: Vec<f64>,
    /// Samples that the judge could not score.
    pub unscored: u32,
    /// The samples that are scored for candidate and champion both; `None` when there is no champion.
    pub champion: Option<Vec<ScoredPair>>,
    /// Whether the scores of the judge were compared with human labels.
    pub calibrated: bool,
}

/// Overall scores (0–100) of candidate and champion for the same sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScoredPair {
    /// Of the version under test.
    pub candidate: f64,
    /// Of the version in production.
    pub champion: f64,
}

/// What the gate says about a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Good enough without a human look.
    Approve,
    /// A human decides.
    Review,
    /// Not good enough.
    Reject,
    /// Too little evidence to decide.
    Inconclusive,
    /// The judge or the infrastructure failed; says nothing about the version.
    Error,
}

impl Decision {
    /// The name in files, metrics and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Review => "review",
            Self::Reject => "reject",
            Self::Inconclusive => "inconclusive",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The decision and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// What the gate says.
    pub decision: Decision,
    /// Why, as stable codes with a sentence each.
    pub reasons: Vec<Reason>,
    /// Which rule decided.
    pub mode: GateMode,
    /// Mean overall score of the scored samples.
    pub mean: Option<f64>,
    /// One-sided lower 95 % bound of the mean.
    pub lower_bound: Option<f64>,
    /// One-sided upper 95 % bound of the mean.
    pub upper_bound: Option<f64>,
    /// Scored samples.
    pub scored: u32,
    /// Samples that the judge could not score.
    pub unscored: u32,
    /// Share (0–1) of the scored samples that pass.
    pub pass_rate: Option<f64>,
    /// Mean paired difference to the champion, with its one-sided 95 % bounds (lower, upper).
    pub champion_delta: Option<PairedDelta>,
}

/// Mean paired difference to the champion on the same samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairedDelta {
    /// Mean of candidate − champion.
    pub mean: f64,
    /// One-sided lower 95 % bound.
    pub lower_bound: f64,
    /// One-sided upper 95 % bound.
    pub upper_bound: f64,
}

/// One reason for a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable code, e.g. `mean_below_approve`.
    pub code: String,
    /// The reason in a sentence, with the values.
    pub text: String,
}
