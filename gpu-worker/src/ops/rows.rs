//! Copies, sums and random values of matrices in a device's memory; the kernels of `rows.cu`.

use crate::cuda::{Argument, Device, DeviceError, Rows, arguments, launch_strided};

/// `out = x`; the width is a multiple of 8.
///
/// # Errors
/// [`DeviceError`] of the device.
pub fn copy(device: &dyn Device, out: Rows, x: Rows, [rows, width]: [usize; 2]) -> Result<(), DeviceError> {
    let arguments = arguments![out.address, out.stride, x.address, x.stride, rows, width];
    launch_strided(device, "copy_rows", rows * width, arguments)
}

/// Fills with values uniform in ±`bound` that follow from `seed` and the place.
///
/// # Errors
/// [`DeviceError`] of the device.
pub fn fill_uniform(
    device: &dyn Device,
    out: Rows,
    [rows, width]: [usize; 2],
    seed: u32,
    bound: f32,
) -> Result<(), DeviceError> {
    launch_strided(
        device,
        "fill_uniform",
        rows * width,
        &[
            out.address.into(),
            out.stride.into(),
            rows.into(),
            width.into(),
            Argument::Long(i64::from(seed)),
            bound.into(),
        ],
    )
}

#[cfg(test)]
mod tests;
