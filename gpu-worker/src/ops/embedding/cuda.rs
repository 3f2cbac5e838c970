//! Launches the kernel of `embedding.cu`.

use crate::cuda::{Address, Device, DeviceError, Rows, arguments, launch_strided};

/// Writes `scale · table[tokens[i]]` to row `i` of `out`; `table [vocab, width]`.
///
/// # Errors
/// [`DeviceError`] of the device.
pub fn embed(
    device: &dyn Device,
    out: Rows,
    table: Address,
    tokens: Address,
    [rows, width]: [usize; 2],
    scale: f32,
) -> Result<(), DeviceError> {
    launch_strided(
        device,
        "embed",
        rows * width,
        arguments![out.address, out.stride, table, tokens, rows, width, scale],
    )
}

#[cfg(test)]
mod tests;
