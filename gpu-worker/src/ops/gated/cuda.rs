//! Launches the kernels of `gated.cu`.

use super::Activation;
use crate::cuda::{Device, DeviceError, Launch, Rows, arguments, blocks};

const THREADS: u32 = 256;
/// Columns that a thread handles at once.
const VECTOR: usize = 8;

fn grid(rows: usize, inner: usize) -> [u32; 3] {
    [blocks(inner, THREADS as usize * VECTOR), u32::try_from(rows).unwrap_or(u32::MAX), 1]
}

/// `out = f(gate) · up`; `gate_up` has the gate in its first `inner` columns and `up` in the next.
///
/// # Errors
/// [`DeviceError`] of the device.
pub fn gated(
    device: &dyn Device,
    activation: Activation,
    out: Rows,
    gate_up: Rows,
    [rows, inner]: [usize; 2],
) -> Result<(), DeviceError> {
    device.launch(Launch {
        kernel: "gated",
        grid: grid(rows, inner),
        threads: THREADS,
        shared_bytes: 0,
        arguments: arguments![
            out.address,
            out.stride,
            gate_up.address,
            gate_up.stride,
            rows,
            inner,
            activation == Activation::Gelu
        ],
    })
}

/// Replaces gate and up by their gradients, and the gradient `d` of the output by the output.
///
/// # Errors
/// [`DeviceError`] of the device.
pub fn gated_backward(
    device: &dyn Device,
    activation: Activation,
    gate_up: Rows,
    d: Rows,
    [rows, inner]: [usize; 2],
) -> Result<(), DeviceError> {
    device.launch(Launch {
        kernel: "gated_backward",
        grid: grid(rows, inner),
        threads: THREADS,
        shared_bytes: 0,
        arguments: arguments![
            gate_up.address,
            gate_up.stride,
            d.address,
            d.stride,
            rows,
            inner,
            activation == Activation::Gelu
        ],
    })
}

#[cfg(test)]
mod tests;
