//! The gated activation of a block: `f(gate) · up`, with `SiLU` (Llama and most others) or GELU (Gemma).

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

impl Activation {
    /// Value and slope at `x`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled inside `vectorised`")]
    fn at(self, x: f32) -> (f32, f32) {
        match self {
            Self::Silu => {
                let sigmoid = 1.0 / (1.0 + exp(-x));
                let value = x * sigmoid;
                (value, sigmoid + value * (1.0 - sigmoid))
            }
            Self::Gelu => {
                const CUBIC: f32 = 0.044_715;
                let inner = SQRT_2_OVER_PI * (x + CUBIC * x * x * x);
                let tanh = 1.0 - 2.0 / (exp(2.0 * inner.clamp(-15.0, 15.0)) + 1.0);
                let d_inner = SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
                (0.5 * x * (1.0 + tanh), 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * d_inner)
            }
        }
    }
}

/// `y = f(gate) · up`, element by element; all of equal length.
///
/// # Errors
/// [`OpError::Length`] when the lengths differ.
pub fn gated(activation: Activation, gate: &[f32], up: &[f32], y: &mut [f32]) -> Result<(), OpError> {
    check_length(OPERATION, "up", up.len(), gate.len())?;
    check_length(OPERATION, "y", y.len(), gate.len())?;
    y.par_chunks_mut(TASK).zip(gate.par_chunks(TASK).zip(up.par_chunks(TASK))).for_each(|(y, (gate, up))| {
        vectorised(
            #[inline(always)]
            || {
                for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
                    *y = activation.at(*gate).0 * up;
                }
            },
        );
    });
    Ok(())
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
    gate.par_chunks_mut(TASK).zip(up.par_chunks_mut(TASK).zip(dy.par_chunks(TASK))).for_each(
        |(gate, (up, dy))| {
            vectorised(
                #[inline(always)]
                || {
                    for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
                        let (value, slope) = activation.at(*gate);
                        *gate = dy * *up * slope;
                        *up = dy * value;
                    }
                },
            );
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests;
