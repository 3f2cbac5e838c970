//! Launches the kernels of `cross_entropy.cu` and `log_probabilities.cu`.

use crate::cuda::{Address, Device, DeviceError, Launch, Rows, arguments};

/// Writes the loss of each row of `logits [rows, vocab]` to `losses` in f32; with `gradient_scale` replaces the logits by
/// `(softmax − onehot) · gradient_scale`.
///
/// # Errors
/// [`DeviceError`] of the device.
pub fn cross_entropy(
    device: &dyn Device,
    logits: Rows,
    labels: Address,
    losses: Address,
    [rows, vocab]: [usize; 2],
    gradient_scale: Option<f32>,
) -> Result<(), DeviceError> {
    device.launch(Launch {
        kernel: "cross_entropy",
        grid: [u32::try_from(rows).unwrap_or(u32::MAX), 1, 1],
        threads: 512,
        shared_bytes: 0,
        arguments: arguments![
            logits.address,
            logits.stride,
            labels,
            losses,
            rows,
            vocab,
            gradient_scale.unwrap_or_default(),
            gradient_scale.is_some()
        ],
    })
}

/// Writes to `out` the logarithm of the probability of each row's label, from logits `[rows, vocab]` in f32 with `stride` values from
/// one row to the next.
///
/// # Errors
/// [`DeviceError`] of the device.
pub fn log_probabilities(
    device: &dyn Device,
    (logits, stride): (Address, usize),
    labels: Address,
    out: Address,
    [rows, vocab]: [usize; 2],
) -> Result<(), DeviceError> {
    device.launch(Launch {
        kernel: "log_probabilities",
        grid: [u32::try_from(rows).unwrap_or(u32::MAX), 1, 1],
        threads: 512,
        shared_bytes: 0,
        arguments: arguments![logits, stride, labels, out, rows, vocab],
    })
}

#[cfg(test)]
mod tests;
