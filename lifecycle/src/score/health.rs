//! How well the judging went: calls, cost, canaries, and the comparison with the champion in both orders.

use serde::{Deserialize, Serialize};

/// How well the judging of one evaluation went.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JudgeHealth {
    /// Calls that were answered, repairs and repeats included.
    pub calls: u64,
    /// Calls that were tried again.
    pub retries: u64,
    /// Verdicts taken from the cache.
    pub cached: u64,
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
    /// Tokens of all replies.
    pub reply_tokens: u64,
    /// What the calls cost in millionths of the budget's currency, where prices are known.
    pub cost_micros: u64,
    /// Canaries: bad answers with an attack, which must stay low.
    pub canaries: u64,
    /// Canaries that scored too high.
    pub canaries_failed: u64,
    /// Share (0–1) of the pairwise verdicts that changed with the order.
    pub flip_rate: Option<f64>,
    /// What a person should know, a sentence each.
    pub warnings: Vec<String>,
}

/// The pairwise comparison of candidate and champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairwiseReport {
    /// By sample, in the order of the golden dataset.
    pub results: Vec<PairwiseResult>,
    /// Share (0–1) of wins of the candidate, ties as halves.
    pub win_rate: f64,
    /// The same with the influence of length taken out.
    pub length_controlled_win_rate: Option<f64>,
}

/// Which of two answers a judge prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preference {
    /// The candidate's.
    Candidate,
    /// The champion's.
    Champion,
    /// Neither.
    Tie,
}

/// One sample compared in both orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairwiseResult {
    /// The golden sample.
    pub sample_id: String,
    /// With the candidate shown first.
    pub candidate_first: Preference,
    /// With the champion shown first.
    pub champion_first: Preference,
}

impl PairwiseResult {
    /// The verdict of both orders together: a tie when they differ.
    pub fn verdict(&self) -> Preference {
        if self.is_flipped() { Preference::Tie } else { self.candidate_first }
    }

    /// Whether the verdict changed with the order.
    pub fn is_flipped(&self) -> bool {
        self.candidate_first != self.champion_first
    }
}
