//! Launches the kernel of `cross_entropy.cu`.

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

#[cfg(test)]
mod tests;
