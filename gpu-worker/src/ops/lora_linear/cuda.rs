//! Launches the kernel of `scatter_adapter.cu`, and those of `low_rank.cu` and `low_rank_forward.cu`.

mod dropout;
mod low_rank;
mod magnitude;

pub use dropout::DeviceDropout;
pub use low_rank::{
    LowRankABackward, LowRankBackward, LowRankGradients, LowRankLayer, has_low_rank_forward, low_rank_forward,
};
pub use magnitude::{MagnitudeGains, MagnitudeGradient, ScaledColumns, partial_sums, row_squares};

use crate::cuda::{Address, Argument, Device, DeviceError, Launch, THREADS, int_bytes};

/// Bytes of one part in the table: target (8), first value (8), rows, columns, stride (4 each), scale (4).
pub const PART_BYTES: usize = 32;

/// A factor of an adapter on its way into the margin of a frozen weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdapterPart {
    /// Where it goes, in bf16.
    pub to: Address,
    /// Index of its first value.
    pub from: usize,
    /// Rows of the factor.
    pub rows: usize,
    /// Columns of the factor.
    pub columns: usize,
    /// Values from one row of the target to the next.
    pub stride: usize,
    /// What it is multiplied by.
    pub scale: f32,
}

impl AdapterPart {
    /// As the kernel reads it.
    pub fn bytes(self) -> [u8; PART_BYTES] {
        let mut bytes = [0; PART_BYTES];
        let fields = self.to.0.to_le_bytes().into_iter().chain((self.from as u64).to_le_bytes());
        let fields =
            fields.chain(int_bytes(self.rows)).chain(int_bytes(self.columns)).chain(int_bytes(self.stride));
        bytes.iter_mut().zip(fields.chain(self.scale.to_le_bytes())).for_each(|(into, byte)| *into = byte);
        bytes
    }
}

/// Copies `count` parts, whose table begins at `parts`, from f32 `values`.
///
/// # Errors
/// [`DeviceError`] of the device.
pub fn scatter_adapter(
    device: &dyn Device,
    parts: Address,
    count: usize,
    values: Address,
) -> Result<(), DeviceError> {
    if count == 0 {
        return Ok(());
    }
    device.launch(Launch {
        kernel: "scatter_adapter",
        grid: [16, u32::try_from(count).unwrap_or(u32::MAX), 1],
        threads: THREADS,
        shared_bytes: 0,
        arguments: &[Argument::from(parts), Argument::from(count), Argument::from(values)],
    })
}

#[cfg(test)]
mod tests;
