//! Root-mean-square normalisation with a frozen weight.

pub mod cuda;

use rayon::prelude::*;

use super::{
    OpError, ROWS_PER_TASK, check_length,
    simd::{sum_of, vectorised},
};

const OPERATION: &str = "RMS norm";

/// `y = x / √(mean(x²) + eps) · weight`, row by row.
///
/// Shapes: `x`, `y` `[rows, width]`, `weight [width]`. Source: Zhang and Sennrich, arXiv 1910.07467.
///
/// # Errors
/// [`OpError::Length`] when `x` is no whole number of rows or `y` differs from it.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) -> Result<(), OpError> {
    let task = check(x, weight, y)?;
    let width = weight.len();
    y.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(y, x)| {
        vectorised(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    let inverse = inverse_rms(x, eps);
                    for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                        *y = x * inverse * w;
                    }
                }
            },
        );
    });
    Ok(())
}

/// Adds the gradient for `x` to `dx`, given the gradient `dy` of the output; the weight is frozen and gets none.
///
/// Shapes: `x`, `dy`, `dx` `[rows, width]`, `weight [width]`.
///
/// # Errors
/// [`OpError::Length`] as [`rms_norm`].
pub fn rms_norm_backward(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    dy: &[f32],
    dx: &mut [f32],
) -> Result<(), OpError> {
    let task = check(x, weight, dx)?;
    check_length(OPERATION, "dy", dy.len(), x.len())?;
    let width = weight.len();
    dx.par_chunks_mut(task).zip(x.par_chunks(task).zip(dy.par_chunks(task))).for_each(|(dx, (x, dy))| {
        vectorised(
            #[inline(always)]
            || {
                let rows = dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(dy.chunks_exact(width));
                for ((dx, x), dy) in rows {
                    backward_row(x, weight, eps, dy, dx);
                }
            },
        );
    });
    Ok(())
}

#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "a width is far below 2²⁴")]
fn backward_row(x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32]) {
    const LANES: usize = 16;
    let inverse = inverse_rms(x, eps);
    let mut lanes = [0.0_f32; LANES];
    let mut terms = x.iter().zip(weight).zip(dy).map(|((x, w), dy)| x * w * dy);
    for _ in 0..x.len() / LANES {
        for (lane, term) in lanes.iter_mut().zip(&mut terms) {
            *lane += term;
        }
    }
    let dot = lanes.iter().sum::<f32>() + terms.sum::<f32>();
    let along = dot * inverse * inverse * inverse / x.len() as f32;
    for (((dx, x), w), dy) in dx.iter_mut().zip(x).zip(weight).zip(dy) {
        *dx += dy * w * inverse - x * along;
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled inside `vectorised`")]
#[expect(clippy::cast_precision_loss, reason = "a width is far below 2²⁴")]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (sum_of(
        x,
        #[inline(always)]
        |v| v * v,
    ) / x.len() as f32
        + eps)
        .sqrt()
}

/// Values that one task handles, after checking the lengths.
fn check(x: &[f32], weight: &[f32], out: &[f32]) -> Result<usize, OpError> {
    check_length(OPERATION, "out", out.len(), x.len())?;
    let width = weight.len().max(1);
    check_length(OPERATION, "x", x.len(), x.len() / width * weight.len())?;
    Ok(width * ROWS_PER_TASK)
}

#[cfg(test)]
mod tests;
