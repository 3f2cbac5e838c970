//! Launches the kernels of `gated.cu`.

use super::Activation;
use crate::cuda::{Device, DeviceError, Rows, arguments, launch_strided};

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
    let arguments = arguments![
        out.address,
        out.stride,
        gate_up.address,
        gate_up.stride,
        rows,
        inner,
        activation == Activation::Gelu
    ];
    launch_strided(device, "gated", rows * inner, arguments)
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
    let arguments = arguments![
        gate_up.address,
        gate_up.stride,
        d.address,
        d.stride,
        rows,
        inner,
        activation == Activation::Gelu
    ];
    launch_strided(device, "gated_backward", rows * inner, arguments)
}

#[cfg(test)]
mod tests;
