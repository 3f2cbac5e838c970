//! Cross entropy on rows of logits, which may be capped, with the gradient made in place.

pub mod cuda;

use rayon::prelude::*;

use super::{
    OpError, check_length,
    simd::{exp, exp_in_place, max, vectorised},
};

const OPERATION: &str = "head loss";

/// Values that one task caps.
const CAPPED: usize = 8192;

/// Replaces each logit by `cap · tanh(logit / cap)`.
pub fn cap_logits(logits: &mut [f32], cap: f32) {
    logits.par_chunks_mut(CAPPED).for_each(|logits| {
        for logit in logits {
            *logit = cap * (*logit / cap).tanh();
        }
    });
}

/// Replaces each row of logits by `scale · (softmax - onehot)`, the gradient of `scale · loss`, and writes each row's loss.
///
/// With `cap` the logits are those of [`cap_logits`], and the gradient is for what it was given.
///
/// Shapes: `logits [rows, vocab]`, `labels [rows]`, `losses [rows]` in nats.
///
/// # Errors
/// [`OpError::Length`] when the shapes differ, [`OpError::Index`] for a label outside the vocabulary.
pub fn cross_entropy_gradient(
    logits: &mut [f32],
    labels: &[u32],
    scale: f32,
    cap: Option<f32>,
    losses: &mut [f64],
) -> Result<(), OpError> {
    let vocab = check(logits, labels, losses)?;
    logits.par_chunks_mut(vocab).zip(labels).zip(losses).for_each(|((row, label), loss)| {
        let label = *label as usize;
        let target = row.get(label).copied().unwrap_or(f32::NAN);
        let slopes: Vec<f32> = cap.map_or_else(Vec::new, |cap| slopes(row, cap));
        let (largest, sum) = vectorised(
            #[inline(always)]
            || {
                let largest = max(row);
                let sum = exp_in_place(row, largest);
                let factor = scale / sum;
                for value in row.iter_mut() {
                    *value *= factor;
                }
                (largest, sum)
            },
        );
        if let Some(value) = row.get_mut(label) {
            *value -= scale;
        }
        for (value, slope) in row.iter_mut().zip(slopes) {
            *value *= slope;
        }
        *loss = negative_log_likelihood(target, largest, sum);
    });
    Ok(())
}

/// Writes each row's loss and leaves the logits alone.
///
/// # Errors
/// As [`cross_entropy_gradient`].
pub fn cross_entropy(logits: &[f32], labels: &[u32], losses: &mut [f64]) -> Result<(), OpError> {
    let vocab = check(logits, labels, losses)?;
    logits.par_chunks(vocab).zip(labels).zip(losses).for_each(|((row, label), loss)| {
        let target = row.get(*label as usize).copied().unwrap_or(f32::NAN);
        let (largest, sum) = vectorised(
            #[inline(always)]
            || {
                let largest = max(row);
                (
                    largest,
                    super::simd::sum_of(
                        row,
                        #[inline(always)]
                        |value| exp(value - largest),
                    ),
                )
            },
        );
        *loss = negative_log_likelihood(target, largest, sum);
    });
    Ok(())
}

/// How much a capped logit grows with what it was.
fn slopes(capped: &[f32], cap: f32) -> Vec<f32> {
    capped.iter().map(|logit| 1.0 - (logit / cap) * (logit / cap)).collect()
}

/// `ln Σ e^logit - logit[label]`, from the largest logit and the sum of exponentials relative to it.
fn negative_log_likelihood(target: f32, largest: f32, sum: f32) -> f64 {
    f64::from(largest) + f64::from(sum).ln() - f64::from(target)
}

/// The size of the vocabulary, after checking lengths and labels.
fn check(logits: &[f32], labels: &[u32], losses: &[f64]) -> Result<usize, OpError> {
    check_length(OPERATION, "losses", losses.len(), labels.len())?;
    let vocab = (logits.len() / labels.len().max(1)).max(1);
    check_length(OPERATION, "logits", logits.len(), vocab * labels.len())?;
    match labels.iter().find(|label| **label as usize >= vocab) {
        Some(label) => {
            Err(OpError::Index { operation: OPERATION, operand: "label", got: *label as usize, limit: vocab })
        }
        None => Ok(vocab),
    }
}

#[cfg(test)]
mod tests;
