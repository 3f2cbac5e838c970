//! Launches the kernel of `embedding.cu`.

use crate::cuda::{Address, Device, DeviceError, Launch, Rows, arguments, blocks};

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
    device.launch(Launch {
        kernel: "embed",
        grid: [blocks(rows, 4), 1, 1],
        threads: 128,
        shared_bytes: 0,
        arguments: arguments![out.address, out.stride, table, tokens, rows, width, scale],
    })
}

#[cfg(test)]
mod tests;
