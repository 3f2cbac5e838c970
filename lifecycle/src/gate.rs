//! The gate: scores become a decision with reason codes.

mod decide;
mod evidence;
mod policy;
mod reason;
mod rules;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use decide::decide;
pub(crate) use evidence::reaches;
pub use policy::{GateMode, GatePolicy};
pub use reason::ReasonCode;

use crate::{calibration::JudgeStanding, golden::Difficulty};

/// What the gate decides on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GateInput {
    /// The scored samples.
    pub samples: Vec<GateSample>,
    /// Samples that the judge could not score.
    pub unscored: u32,
    /// Whether a champion answered too.
    pub has_champion: bool,
    /// How far the judges may be trusted.
    pub standing: JudgeStanding,
    /// Canaries: bad answers with an attack, which must score low.
    pub canaries: u64,
    /// Canaries that scored too high.
    pub canaries_failed: u64,
    /// Share (0–1) of the pairwise verdicts that changed with the order.
    pub flip_rate: Option<f64>,
    /// Evaluations of the family with this golden dataset before this one.
    pub evaluations: u32,
}

/// One scored sample; scores are 0–100.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GateSample {
    /// The golden sample.
    pub sample_id: String,
    /// Overall score of the version under test.
    pub score: f64,
    /// Overall score of the version in production, where it has one.
    pub champion: Option<f64>,
    /// What the sample belongs to; alone when absent.
    pub cluster: Option<String>,
    /// How hard it is.
    pub difficulty: Difficulty,
    /// Codes of the hard checks that the answer failed.
    pub hard_failures: Vec<String>,
    /// Whether the answer speaks to the judge.
    pub is_injection: bool,
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
    /// What else the decision rests on; all zero in reports of older versions.
    #[serde(default)]
    pub evidence: GateEvidence,
}

/// What a decision rests on besides the mean and its bounds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GateEvidence {
    /// Clusters that the scored samples are in.
    pub clusters: u32,
    /// So many samples that stand alone would say as much.
    pub effective_samples: Option<f64>,
    /// The scored samples by difficulty; levels without one are absent.
    pub strata: Vec<Stratum>,
    /// Scored samples that failed a hard check.
    pub hard_failures: u32,
    /// Scored samples whose answer speaks to the judge.
    pub injections: u32,
    /// Evaluations of the family with this golden dataset before this one.
    pub evaluations: u32,
    /// How far the judges could be trusted.
    pub standing: JudgeStanding,
}

/// The scored samples of one difficulty; scores are 0–100.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stratum {
    /// How hard they are.
    pub difficulty: Difficulty,
    /// How many.
    pub samples: u32,
    /// Mean overall score.
    pub mean: f64,
    /// One-sided lower 95 % bound; absent below two clusters.
    pub lower_bound: Option<f64>,
    /// One-sided upper 95 % bound.
    pub upper_bound: Option<f64>,
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
