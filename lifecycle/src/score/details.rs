//! What stands beside the scores of one answer: checks without a judge, text metrics, the single judges' votes, flags.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CheckFinding, Criterion};

/// What is known about an answer besides its scores.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AnswerDetails {
    /// What the checks that need no judge found.
    pub checks: Vec<CheckFinding>,
    /// How near the answer is to the expected output.
    pub metrics: Option<TextMetrics>,
    /// What each judge said; the scores are their mean.
    pub votes: Vec<JudgeVote>,
    /// What a reviewer should know.
    pub flags: Vec<Flag>,
}

/// How near an answer is to the expected output, each 0–1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct TextMetrics {
    /// ROUGE-1, F measure.
    pub rouge_1: f64,
    /// ROUGE-2, F measure.
    pub rouge_2: f64,
    /// ROUGE-L, F measure.
    pub rouge_l: f64,
    /// chrF (character n-grams up to 6, β = 2).
    pub chrf: f64,
    /// F measure of the tokens as a bag.
    pub token_f1: f64,
    /// 1 when both are equal, blanks, case and punctuation aside.
    pub exact_match: f64,
}

/// What one judge said about one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgeVote {
    /// The judge, as in [`super::JudgeIdentity::judge_id`].
    pub judge_id: String,
    /// By criterion.
    pub criteria: BTreeMap<Criterion, CriterionVote>,
    /// Where the scores come from.
    pub scoring: Scoring,
    /// Its replies, as they came.
    pub replies: Vec<String>,
}

/// What one judge said about one criterion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CriterionVote {
    /// The score, 0–10: an expectation or a mean.
    pub mean: f64,
    /// The likeliest score, 0–10.
    pub mode: f64,
    /// Entropy of the scores in bits; 0 when the judge is sure.
    pub entropy: f64,
    /// Why, in the judge's words.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Where a judge's scores come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// The number that one reply holds.
    Reply,
    /// The mean of several replies.
    Repeats,
    /// The expectation over the probabilities of the score's tokens.
    Probabilities,
}

/// Something that a reviewer should know about an answer; stable names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// The answer holds text that speaks to the judge.
    Injection,
    /// Invisible characters, or look-alikes of marks, were taken out before judging.
    Neutralised,
    /// The judges are far apart.
    Disagreement,
    /// A judge is unsure.
    Unsure,
    /// The verdict beside the champion changes with the order.
    Flipped,
    /// Much longer than the expected output.
    Long,
}
