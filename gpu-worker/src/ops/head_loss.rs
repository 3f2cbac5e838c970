//! Cross entropy on rows of logits, which may be capped, with the gradient made in place.

pub mod cuda;

use rayon::prelude::*;

use super::{
    OpError, check_length,
    simd::{exp, exp_in_place, max, vectorised, with_scratch},
};

const OPERATION: &str = "head loss";

/// Values that one task caps.
const TASK: usize = 8192;

/// Replaces each logit by `cap · tanh(logit / cap)`.
pub fn cap_logits(logits: &mut [f32], cap: f32) {
    logits.par_chunks_mut(TASK).for_each(|logits| {
        for logit in logits {
            *logit = cap * (*logit / cap).tanh();
        }
    });
}

/// Replaces each row of logits by `scale · (softmax - onehot)`, the gradient of `scale · loss`, and writes each row's loss.
///
/// With `cap` the logits are capped by [`cap_logits`], and the gradient is for them as they were before.
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
    let kept = if cap.is_some() { vocab } else { 0 };
    logits.par_chunks_mut(vocab).zip(labels).zip(losses).for_each(|((row, label), loss)| {
        with_scratch(kept, |capped| {
            capped.copy_from_slice(row.get(..kept).unwrap_or_default());
            *loss = gradient_of_row(row, *label as usize, scale);
            if let Some(cap) = cap {
                vectorised(
                    #[inline(always)]
                    || {
                        for (value, capped) in row.iter_mut().zip(capped.iter()) {
                            let share = capped / cap;
                            *value *= 1.0 - share * share;
                        }
                    },
                );
            }
        });
    });
    Ok(())
}

/// Replaces a row of logits by the gradient of its loss, which it answers.
fn gradient_of_row(row: &mut [f32], label: usize, scale: f32) -> f64 {
    let target = row.get(label).copied().unwrap_or(f32::NAN);
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
    negative_log_likelihood(target, largest, sum)
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
