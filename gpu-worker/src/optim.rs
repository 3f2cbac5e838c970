//! AdamW with clipping by the global norm, on flat slices, with the arithmetic order of PyTorch.

pub mod cuda;

use std::ops::Range;

use rayon::prelude::*;

use crate::engine::StepOptions;

/// Values that one task handles; fixed, so that sums do not depend on the number of threads.
const TASK: usize = 16_384;

/// L2 norm of all gradients together, summed in f64.
pub fn global_norm(gradients: &[f32]) -> f64 {
    let sums: Vec<f64> = gradients
        .par_chunks(TASK)
        .map(|part| part.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>())
        .collect();
    sums.iter().sum::<f64>().sqrt()
}

/// Factor that brings gradients of norm `norm` down to `max_norm`; 1 when they are short enough.
#[expect(clippy::cast_possible_truncation, reason = "the factor is between 0 and 1")]
pub fn clip_factor(norm: f64, max_norm: Option<f64>) -> f32 {
    max_norm.map_or(1.0, |max_norm| (max_norm / (norm + 1e-6)).min(1.0) as f32)
}

/// Parameters with their gradients and moments, all of equal length.
#[derive(Debug)]
pub struct Parameters<'a> {
    /// What is optimised.
    pub values: &'a mut [f32],
    /// Gradients; read.
    pub gradients: &'a [f32],
    /// Running mean of gradients.
    pub first_moments: &'a mut [f32],
    /// Running mean of squared gradients.
    pub second_moments: &'a mut [f32],
}

impl Parameters<'_> {
    /// A part of them; empty where they have none.
    fn part(&mut self, range: Range<usize>) -> Parameters<'_> {
        Parameters {
            values: self.values.get_mut(range.clone()).unwrap_or_default(),
            gradients: self.gradients.get(range.clone()).unwrap_or_default(),
            first_moments: self.first_moments.get_mut(range.clone()).unwrap_or_default(),
            second_moments: self.second_moments.get_mut(range).unwrap_or_default(),
        }
    }
}

/// As [`adamw`], with the learning rate times `b_rate_ratio` in the ranges `fast`, which stand in order.
pub fn adamw_plus(
    mut parameters: Parameters<'_>,
    fast: impl Iterator<Item = Range<usize>>,
    clip: f32,
    step: u64,
    options: &StepOptions,
) {
    let faster = StepOptions { learning_rate: options.learning_rate * options.b_rate_ratio, ..*options };
    let mut done = 0;
    for range in fast {
        adamw(parameters.part(done..range.start), clip, step, options);
        done = range.end;
        adamw(parameters.part(range), clip, step, &faster);
    }
    let end = parameters.values.len();
    adamw(parameters.part(done..end), clip, step, options);
}

/// Takes one AdamW step, the `step`-th counted from 1, on gradients multiplied by `clip`.
///
/// Source: Loshchilov and Hutter, arXiv 1711.05101; bias correction and order as in `torch.optim.AdamW`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "factors are computed in f64 and applied in f32, as PyTorch does"
)]
pub fn adamw(parameters: Parameters<'_>, clip: f32, step: u64, options: &StepOptions) {
    let (beta_1, beta_2) = options.betas;
    let exponent = i32::try_from(step).unwrap_or(i32::MAX);
    let correction_1 = 1.0 - beta_1.powi(exponent);
    let correction_2 = (1.0 - beta_2.powi(exponent)).sqrt();
    let step_size = (options.learning_rate / correction_1) as f32;
    let root_correction = correction_2 as f32;
    let keep = (1.0 - options.learning_rate * options.weight_decay) as f32;
    let (blend_1, keep_2, blend_2) = ((1.0 - beta_1) as f32, beta_2 as f32, (1.0 - beta_2) as f32);
    let eps = options.eps as f32;
    let Parameters { values, gradients, first_moments, second_moments } = parameters;
    values
        .par_chunks_mut(TASK)
        .zip(gradients.par_chunks(TASK))
        .zip(first_moments.par_chunks_mut(TASK).zip(second_moments.par_chunks_mut(TASK)))
        .for_each(|((values, gradients), (first, second))| {
            let moments = first.iter_mut().zip(second);
            for ((value, gradient), (first, second)) in values.iter_mut().zip(gradients).zip(moments) {
                let gradient = gradient * clip;
                *value *= keep;
                *first += (gradient - *first) * blend_1;
                *second = *second * keep_2 + gradient * gradient * blend_2;
                *value -= step_size * *first / (second.sqrt() / root_correction + eps);
            }
        });
}

#[cfg(test)]
mod tests;
