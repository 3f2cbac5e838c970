//! Launches the kernel of `hold.cu`.

use crate::cuda::{Address, Device, DeviceError, Launch, THREADS, arguments, int_bytes};

/// A matrix within a flat array of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldPart {
    /// Where it begins.
    pub from: usize,
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub columns: usize,
    /// Values from one row to the next.
    pub stride: usize,
}

impl HeldPart {
    /// Bytes of one part in the table: first value and where it was kept (8 each), rows, columns, stride, nothing (4 each).
    pub const BYTES: usize = 32;

    /// Its values in `values`.
    pub fn of(self, values: &[f32]) -> impl Iterator<Item = f32> {
        let rows = (0..self.rows).map(move |row| self.from + row * self.stride);
        rows.flat_map(move |start| values.get(start..start + self.columns).unwrap_or_default()).copied()
    }

    /// As the kernel reads it; what was kept of it begins at `kept`.
    pub fn bytes(self, kept: usize) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let fields = (self.from as u64).to_le_bytes().into_iter().chain((kept as u64).to_le_bytes());
        let fields =
            fields.chain(int_bytes(self.rows)).chain(int_bytes(self.columns)).chain(int_bytes(self.stride));
        bytes.iter_mut().zip(fields).for_each(|(into, byte)| *into = byte);
        bytes
    }
}

/// Sets `count` parts of `values`, whose table begins at `parts`, to what was kept of them, or to zero; all in f32.
///
/// # Errors
/// [`DeviceError`] of the device.
pub fn hold_parts(
    device: &dyn Device,
    values: Address,
    kept: Option<Address>,
    parts: Address,
    count: usize,
) -> Result<(), DeviceError> {
    if count == 0 {
        return Ok(());
    }
    device.launch(Launch {
        kernel: "hold_parts",
        grid: [16, u32::try_from(count).unwrap_or(u32::MAX).min(65_535), 1],
        threads: THREADS,
        shared_bytes: 0,
        arguments: arguments![values, kept, parts, count],
    })
}

#[cfg(test)]
mod tests;
