//! The policy of the gate: which rule decides, and by which limits.

use std::fmt;

use serde::{Deserialize, Serialize};

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
    /// In bounds mode: the lower bound must reach `approve_at` itself. Every approval is then shown to be good enough, for
    /// the price of about three times the samples.
    pub strict: bool,
    /// In bounds mode: how much worse than the champion a version may be.
    pub champion_margin: f64,
    /// In bounds mode: fewest scored samples for a decision.
    pub min_samples: u32,
    /// Share (0–1) of unscored samples beyond which the decision is `error`.
    pub max_unscored_share: f64,
    /// In bounds mode: fewest samples of a difficulty for its bound to count.
    pub min_stratum_samples: u32,
    /// In bounds mode: share (0–1) of samples with a failed hard check beyond which a person decides.
    pub max_hard_failure_share: f64,
    /// In bounds mode: share (0–1) of samples with a failed hard check beyond which the version is rejected.
    pub reject_hard_failure_share: f64,
    /// In bounds mode: share (0–1) of pairwise verdicts that may change with the order.
    pub max_flip_rate: f64,
    /// In bounds mode: evaluations of the family with the same golden dataset after which a person decides.
    pub max_evaluations: u32,
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
            strict: false,
            champion_margin: 2.0,
            min_samples: 30,
            max_unscored_share: 0.05,
            min_stratum_samples: 8,
            max_hard_failure_share: 0.0,
            reject_hard_failure_share: 0.1,
            max_flip_rate: 0.3,
            max_evaluations: 5,
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
        let shares = [
            ("max_hard_failure_share", self.max_hard_failure_share),
            ("reject_hard_failure_share", self.reject_hard_failure_share),
            ("max_flip_rate", self.max_flip_rate),
        ];
        for (name, share) in shares {
            require((0.0..=1.0).contains(&share), format!("{name} is {share}; expected 0 to 1"));
        }
        let (review, reject) = (self.max_hard_failure_share, self.reject_hard_failure_share);
        require(
            review <= reject,
            format!(
                "max_hard_failure_share is {review}; expected at most reject_hard_failure_share ({reject})"
            ),
        );
        let fewest = self.min_stratum_samples;
        require(
            fewest >= 2,
            format!("min_stratum_samples is {fewest}; expected at least 2, one score has no bounds"),
        );
        problems
    }

    /// What the lower bound must reach for an approval in bounds mode.
    pub fn guard(&self) -> f64 {
        if self.strict { self.approve_at } else { self.approve_lower_bound }
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
