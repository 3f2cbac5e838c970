//! Launches the kernel of `dequantise.cu`.

use crate::cuda::{Address, Device, DeviceError, Launch, Rows, arguments, blocks};

/// A matrix of four bits in a device's memory.
#[derive(Debug, Clone, Copy)]
pub struct PackedWeight {
    /// Two codes a byte.
    pub codes: Address,
    /// The scale of each block in f32.
    pub scales: Address,
    /// Weights that share a scale.
    pub block: usize,
    /// Rows and columns.
    pub shape: [usize; 2],
}

/// Writes the weights to `out` in bf16.
///
/// # Errors
/// [`DeviceError`] of the device.
pub fn dequantise(device: &dyn Device, out: Rows, weight: PackedWeight) -> Result<(), DeviceError> {
    let [rows, columns] = weight.shape;
    device.launch(Launch {
        kernel: "dequantise_nf4",
        grid: [blocks(rows * columns, 256 * 32), 1, 1],
        threads: 256,
        shared_bytes: 0,
        arguments: arguments![
            out.address,
            out.stride,
            weight.codes,
            weight.scales,
            rows,
            columns,
            weight.block
        ],
    })
}

#[cfg(test)]
mod tests;
