//! The gated activation of a block: `f(gate) · up`, with `SiLU` (Llama and most others) or GELU (Gemma).

pub mod cuda;

use rayon::prelude::*;

use super::{
    OpError, check_length,
    simd::{exp, vectorised},
};

const OPERATION: &str = "gated activation";
/// Values that one task handles.
const TASK: usize = 8192;
const SQRT_2_OVER_PI: f32 = 0.797_884_6;

/// What is applied to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// `x / (1 + e^-x)`
    #[default]
    Silu,
    /// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))`; Hendrycks and Gimpel, arXiv 1606.08415, section 2.
    Gelu,
}

/// Value and slope of `SiLU` at `x`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled inside `vectorised`")]
fn silu(x: f32) -> (f32, f32) {
    let sigmoid = 1.0 / (1.0 + exp(-x));
    let value = x * sigmoid;
    (value, sigmoid + value * (1.0 - sigmoid))
}

/// Value and slope of GELU at `x`.
#[inline(always)]
fn gelu(x: f32) -> (f32, f32) {
    const CUBIC: f32 = 0.044_715;
    let inner = SQRT_2_OVER_PI * (x + CUBIC * x * x * x);
    let tanh = 1.0 - 2.0 / (exp(2.0 * inner.clamp(-15.0, 15.0)) + 1.0);
    let d_inner = SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
    (0.5 * x * (1.0 + tanh), 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * d_inner)
}

/// `y = f(gate) · up`, element by element; all of equal length.
///
/// # Errors
/// [`OpError::Length`] when the lengths differ.
pub fn gated(activation: Activation, gate: &[f32], up: &[f32], y: &mut [f32]) -> Result<(), OpError> {
    check_length(OPERATION, "up", up.len(), gate.len())?;
    check_length(OPERATION, "y", y.len(), gate.len())?;
    // One loop for each: a choice inside would keep it from being vectorised.
    match activation {
        Activation::Silu => forward(gate, up, y, silu),
        Activation::Gelu => forward(gate, up, y, gelu),
    }
    Ok(())
}

fn forward(gate: &[f32], up: &[f32], y: &mut [f32], f: impl Fn(f32) -> (f32, f32) + Copy + Sync) {
    y.par_chunks_mut(TASK).zip(gate.par_chunks(TASK).zip(up.par_chunks(TASK))).for_each(|(y, (gate, up))| {
        vectorised(
            #[inline(always)]
            || {
                for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
                    *y = f(*gate).0 * up;
                }
            },
        );
    });
}

/// Replaces `gate` and `up` by their gradients, given the gradient `dy` of the output.
///
/// # Errors
/// [`OpError::Length`] when the lengths differ.
pub fn gated_backward(
    activation: Activation,
    gate: &mut [f32],
    up: &mut [f32],
    dy: &[f32],
) -> Result<(), OpError> {
    check_length(OPERATION, "up", up.len(), gate.len())?;
    check_length(OPERATION, "dy", dy.len(), gate.len())?;
    match activation {
        Activation::Silu => backward(gate, up, dy, silu),
        Activation::Gelu => backward(gate, up, dy, gelu),
    }
    Ok(())
}

fn backward(gate: &mut [f32], up: &mut [f32], dy: &[f32], f: impl Fn(f32) -> (f32, f32) + Copy + Sync) {
    gate.par_chunks_mut(TASK).zip(up.par_chunks_mut(TASK).zip(dy.par_chunks(TASK))).for_each(
        |(gate, (up, dy))| {
            vectorised(
                #[inline(always)]
                || {
                    for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
                        let (value, slope) = f(*gate);
                        *gate = dy * *up * slope;
                        *up = dy * value;
                    }
                },
            );
        },
    );
}

#[cfg(test)]
mod tests;
