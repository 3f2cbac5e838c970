//! Matrices in a device's memory, and the arguments that kernels take.

use super::{Address, Argument, Device, DeviceError, Element, Launch, Operand};

/// A bf16 matrix in row-major order, or some columns of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// First value.
    pub address: Address,
    /// Values from one row to the next.
    pub stride: usize,
}

impl Rows {
    /// A matrix that begins at `address`.
    pub fn new(address: Address, stride: usize) -> Self {
        Self { address, stride }
    }

    /// From a column on.
    #[must_use]
    pub fn columns_from(self, column: usize) -> Self {
        Self { address: self.address.at(column * Element::Bf16.bytes()), ..self }
    }

    /// From a row on.
    #[must_use]
    pub fn rows_from(self, row: usize) -> Self {
        Self { address: self.address.at(row * self.stride * Element::Bf16.bytes()), ..self }
    }

    /// As a factor.
    pub fn operand(self) -> Operand {
        Operand { address: self.address, stride: self.stride, transposed: false }
    }

    /// Its transpose as a factor.
    pub fn transposed(self) -> Operand {
        Operand { transposed: true, ..self.operand() }
    }
}

impl From<Address> for Argument {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl From<Option<Address>> for Argument {
    fn from(address: Option<Address>) -> Self {
        Self::Address(address.unwrap_or(Address::NULL))
    }
}

/// Sizes stay below 2³¹; the engine refuses what does not.
impl From<usize> for Argument {
    fn from(size: usize) -> Self {
        Self::Int(i32::try_from(size).unwrap_or(i32::MAX))
    }
}

impl From<bool> for Argument {
    fn from(flag: bool) -> Self {
        Self::Int(i32::from(flag))
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

/// A size as kernels read it in a table: an `int`, which the engine's checks keep it within.
pub(crate) fn int_bytes(size: usize) -> [u8; 4] {
    i32::try_from(size).unwrap_or(i32::MAX).to_le_bytes()
}

/// Arguments of a kernel, each converted.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => { &[$($crate::cuda::Argument::from($value)),*] };
}
pub(crate) use arguments;

/// Threads of a block of the kernels that go over their work in strides.
pub(crate) const THREADS: u32 = 256;
/// Values that a thread handles at once: 16 bytes of bf16.
const VECTOR: usize = 8;
/// Most blocks of those kernels; each goes on with what is left.
const MOST_BLOCKS: u32 = 4096;

/// Thread blocks of `of` items each for `count` of them.
pub(crate) fn blocks(count: usize, of: usize) -> u32 {
    u32::try_from(count.div_ceil(of.max(1))).unwrap_or(u32::MAX)
}

/// Starts a kernel that goes over `values` values in strides, whatever its grid.
pub(crate) fn launch_strided(
    device: &dyn Device,
    kernel: &'static str,
    values: usize,
    arguments: &[Argument],
) -> Result<(), DeviceError> {
    let blocks = blocks(values, THREADS as usize * VECTOR).clamp(1, MOST_BLOCKS);
    device.launch(Launch { kernel, grid: [blocks, 1, 1], threads: THREADS, shared_bytes: 0, arguments })
}
