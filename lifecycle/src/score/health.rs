//! How well the judging went: calls, cost, canaries.

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
