//! Candidate beside champion: verdicts of both orders, the win rate, and the win rate with the influence of length
//! taken out.

use serde::{Deserialize, Serialize};

use crate::statistics::standard_deviation;

/// The pairwise comparison of candidate and champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairwiseReport {
    /// By sample, in the order of the golden dataset.
    pub results: Vec<PairwiseResult>,
    /// Share (0–1) of wins of the candidate, ties as halves.
    pub win_rate: f64,
    /// The same with the influence of length taken out; absent below ten verdicts, or where all lengths differ by the
    /// same.
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

impl Preference {
    /// What it is worth to the candidate: 1, 0, or a half.
    pub fn value(self) -> f64 {
        match self {
            Self::Candidate => 1.0,
            Self::Champion => 0.0,
            Self::Tie => 0.5,
        }
    }
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

impl PairwiseReport {
    /// Sums up the compared samples; each comes with the length of the candidate's answer less that of the champion's,
    /// in characters. `None` when there is none.
    pub fn of(compared: Vec<(PairwiseResult, f64)>) -> Option<Self> {
        let verdicts: Vec<f64> = compared.iter().map(|(result, _)| result.verdict().value()).collect();
        let win_rate = crate::statistics::mean(&verdicts)?;
        let differences: Vec<f64> = compared.iter().map(|(_, difference)| *difference).collect();
        let length_controlled_win_rate = length_controlled(&verdicts, &differences);
        let results = compared.into_iter().map(|(result, _)| result).collect();
        Some(Self { results, win_rate, length_controlled_win_rate })
    }

    /// Share (0–1) of the verdicts that changed with the order.
    pub fn flip_rate(&self) -> f64 {
        let flips: Vec<f64> =
            self.results.iter().map(|result| if result.is_flipped() { 1.0 } else { 0.0 }).collect();
        crate::statistics::mean(&flips).unwrap_or(0.0)
    }
}

/// Fewest verdicts of a regression.
const FEWEST_VERDICTS: usize = 10;
/// Strength of the pull towards "length has no influence" and "both are alike", in verdicts: without one, verdicts that
/// length tells apart without error have no finite solution.
const RIDGE: f64 = 0.1;
/// Newton's method ends long before.
const MOST_ROUNDS: u32 = 50;

/// The win rate at equal lengths, as `AlpacaEval` 2 takes length out (arXiv 2404.04475) with one candidate and no terms
/// for the prompts: logistic regression `P(candidate wins) = σ(a + b · tanh(d / s))` over the verdicts (ties are
/// halves), where d is the difference of lengths and s its standard deviation. The rate is `σ(a)`.
fn length_controlled(verdicts: &[f64], differences: &[f64]) -> Option<f64> {
    let spread = standard_deviation(differences).filter(|spread| *spread > 0.0)?;
    if verdicts.len() < FEWEST_VERDICTS {
        return None;
    }
    let lengths: Vec<f64> = differences.iter().map(|difference| (difference / spread).tanh()).collect();
    let (mut a, mut b) = (0.0_f64, 0.0_f64);
    for _ in 0..MOST_ROUNDS {
        // Gradient and Hessian of the penalised log-likelihood.
        let (mut slope_a, mut slope_b) = (-RIDGE * a, -RIDGE * b);
        let (mut aa, mut ab, mut bb) = (RIDGE, 0.0, RIDGE);
        for (verdict, length) in verdicts.iter().zip(&lengths) {
            let expected = sigmoid(a + b * length);
            let certainty = expected * (1.0 - expected);
            slope_a += verdict - expected;
            slope_b += (verdict - expected) * length;
            aa += certainty;
            ab += certainty * length;
            bb += certainty * length * length;
        }
        let determinant = aa * bb - ab * ab;
        let (step_a, step_b) =
            ((bb * slope_a - ab * slope_b) / determinant, (aa * slope_b - ab * slope_a) / determinant);
        a += step_a;
        b += step_b;
        if step_a.abs() + step_b.abs() < 1e-12 {
            break;
        }
    }
    Some(sigmoid(a))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests;
