//! The gated activation of a Llama block: `silu(gate) · up`.

use rayon::prelude::*;

use super::{
    OpError, check_length,
    simd::{exp, vectorised},
};

const OPERATION: &str = "SwiGLU";
/// Values that one task handles.
const TASK: usize = 8192;

/// `y = gate / (1 + e^-gate) · up`, element by element; all of equal length.
///
/// # Errors
/// [`OpError::Length`] when the lengths differ.
pub fn swiglu(gate: &[f32], up: &[f32], y: &mut [f32]) -> Result<(), OpError> {
    check_length(OPERATION, "up", up.len(), gate.len())?;
    check_length(OPERATION, "y", y.len(), gate.len())?;
    y.par_chunks_mut(TASK).zip(gate.par_chunks(TASK).zip(up.par_chunks(TASK))).for_each(|(y, (gate, up))| {
        vectorised(
            #[inline(always)]
            || {
                for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
                    *y = gate / (1.0 + exp(-gate)) * up;
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
pub fn swiglu_backward(gate: &mut [f32], up: &mut [f32], dy: &[f32]) -> Result<(), OpError> {
    check_length(OPERATION, "up", up.len(), gate.len())?;
    check_length(OPERATION, "dy", dy.len(), gate.len())?;
    gate.par_chunks_mut(TASK).zip(up.par_chunks_mut(TASK).zip(dy.par_chunks(TASK))).for_each(
        |(gate, (up, dy))| {
            vectorised(
                #[inline(always)]
                || {
                    for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
                        let sigmoid = 1.0 / (1.0 + exp(-*gate));
                        let silu = *gate * sigmoid;
                        *gate = dy * *up * (sigmoid + silu * (1.0 - sigmoid));
                        *up = dy * silu;
                    }
                },
            );
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests;
