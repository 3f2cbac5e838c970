//! Launches the kernel of `dequantise.cu`.

use crate::cuda::{Address, Device, DeviceError, Rows, arguments, launch_strided};

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
    let arguments =
        arguments![out.address, out.stride, weight.codes, weight.scales, rows, columns, weight.block];
    launch_strided(device, "dequantise_nf4", rows * columns, arguments)
}

#[cfg(test)]
mod tests;
