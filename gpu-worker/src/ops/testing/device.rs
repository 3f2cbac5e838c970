//! Matrices and lists in a device's memory, for the tests of kernels.

use std::sync::Arc;

use half::bf16;

use crate::cuda::{Buffer, Device, Rows};

/// What stands beside the values of a row, where kernels have no business.
const PADDING: f32 = 77.0;

/// A matrix in bf16 whose rows are followed by a few columns of padding.
pub(crate) struct Matrix {
    device: Arc<dyn Device>,
    buffer: Buffer,
    width: usize,
    stride: usize,
}

impl Matrix {
    /// Holds row-major values, rounded.
    pub(crate) fn new(device: &Arc<dyn Device>, values: &[f32], width: usize) -> Self {
        let stride = width.next_multiple_of(8) + 8;
        let padding = vec![PADDING; stride - width];
        let rows = values.chunks(width).flat_map(|row| row.iter().chain(&padding));
        let bytes: Vec<u8> = rows.flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
        Self { device: Arc::clone(device), buffer: upload(device, &bytes), width, stride }
    }

    /// Holds zeros.
    pub(crate) fn zeros(device: &Arc<dyn Device>, [rows, width]: [usize; 2]) -> Self {
        Self::new(device, &vec![0.0; rows * width], width)
    }

    /// As an operand.
    pub(crate) fn rows(&self) -> Rows {
        Rows::new(self.buffer.address(), self.stride)
    }

    /// Its values, after a look at the padding.
    #[track_caller]
    pub(crate) fn values(&self) -> Vec<f32> {
        let bytes = download(&self.device, &self.buffer);
        let all: Vec<f32> = bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect();
        let rows = all.chunks_exact(self.stride).map(|row| row.split_at(self.width));
        let padded =
            rows.clone().all(|(_, padding)| padding.iter().all(|value| value.to_bits() == PADDING.to_bits()));
        assert!(padded, "a kernel wrote beside the rows");
        rows.flat_map(|(row, _)| row.to_vec()).collect()
    }
}

/// Bytes in new memory.
pub(crate) fn upload(device: &Arc<dyn Device>, bytes: &[u8]) -> Buffer {
    let buffer = Buffer::new(device, bytes.len()).unwrap();
    device.write(buffer.address(), bytes).unwrap();
    buffer
}

/// Floats in new memory.
pub(crate) fn upload_floats(device: &Arc<dyn Device>, values: &[f32]) -> Buffer {
    upload(device, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// Numbers in new memory.
pub(crate) fn upload_numbers(device: &Arc<dyn Device>, values: &[u32]) -> Buffer {
    upload(device, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// All bytes of a buffer.
pub(crate) fn download(device: &Arc<dyn Device>, buffer: &Buffer) -> Vec<u8> {
    let mut bytes = vec![0; buffer.bytes()];
    device.read(buffer.address(), &mut bytes).unwrap();
    bytes
}

/// All floats of a buffer.
pub(crate) fn download_floats(device: &Arc<dyn Device>, buffer: &Buffer) -> Vec<f32> {
    download(device, buffer).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Values as bf16 holds them.
pub(crate) fn rounded(values: impl IntoIterator<Item = f32>) -> Vec<f32> {
    values.into_iter().map(|value| bf16::from_f32(value).to_f32()).collect()
}

/// Asserts that every value is the expected one but for a rounding to bf16, and for sums of large terms that cancel.
#[track_caller]
pub(crate) fn assert_rounded(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let tolerance = expected.abs() / 250.0 + largest * 1e-5;
        assert!(
            (got - expected).abs() <= tolerance,
            "value {i}: got {got}, expected {expected} ± {tolerance}"
        );
    }
}
