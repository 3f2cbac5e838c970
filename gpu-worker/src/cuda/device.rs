//! What the CUDA engine asks of a device.

use std::{fmt, sync::Arc};

/// Where something lies in a device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u64);

impl Address {
    /// Nothing; for operands that a kernel may do without.
    pub const NULL: Self = Self(0);

    /// So many bytes further.
    #[must_use]
    pub fn at(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument {
    /// A pointer.
    Address(Address),
    /// An `int`.
    Int(i32),
    /// A `long long`.
    Long(i64),
    /// A `float`.
    Float(f32),
}

impl Argument {
    /// The value as a kernel finds it at the argument's place, in the lower bytes.
    #[must_use]
    pub fn bits(self) -> u64 {
        match self {
            Self::Address(address) => address.0,
            Self::Int(value) => u64::from(value.cast_unsigned()),
            Self::Long(value) => value.cast_unsigned(),
            Self::Float(value) => u64::from(value.to_bits()),
        }
    }
}

/// One run of a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// Its name, as `extern "C"`.
    pub kernel: &'static str,
    /// Thread blocks.
    pub grid: [u32; 3],
    /// Threads of a block; a multiple of 32.
    pub threads: u32,
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// In the kernel's order.
    pub arguments: &'a [Argument],
}

/// Type of a matrix's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// 16 bits with the exponent of an f32.
    Bf16,
    /// 32 bits.
    F32,
}

impl Element {
    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }
}

/// A matrix in row-major order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Operand {
    /// First value.
    pub address: Address,
    /// Values from one row to the next.
    pub stride: usize,
    /// Whether its transpose is meant.
    pub transposed: bool,
}

/// `d = alpha·a·b + c + bias`, with `a [m, k]`, `b [k, n]` in bf16 (after transposition), sums in f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gemm {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Inner width.
    pub k: usize,
    /// What the product is multiplied by.
    pub alpha: f32,
    /// Left factor.
    pub a: Operand,
    /// Right factor.
    pub b: Operand,
    /// What is added, of the result's type; may be the result itself.
    pub c: Option<Operand>,
    /// The result; never transposed.
    pub d: Operand,
    /// Type of `c` and `d`.
    pub result: Element,
    /// `[n]` in bf16, added to every row; only with a result in bf16.
    pub bias: Option<Address>,
}

/// Memory of a device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Not in use by anyone.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// A recorded sequence of launches and products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GraphId(pub u64);

/// What a device could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A library is missing, or there is no device.
    #[error("no CUDA device can be used: {reason}")]
    Unavailable {
        /// What is missing and where it was looked for.
        reason: String,
    },
    /// The memory does not suffice.
    #[error(
        "the GPU has no {bytes} bytes of memory left ({free} free); use shorter sequences, a smaller batch or a smaller base model"
    )]
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
        /// Bytes that were free.
        free: u64,
    },
    /// A kernel does not compile or load.
    #[error("cannot prepare kernel {kernel}: {reason}")]
    Kernel {
        /// Kernel or source file.
        kernel: String,
        /// The compiler's or driver's words.
        reason: String,
    },
    /// The device broke down; nothing on it can be used any more.
    #[error(
        "the GPU was lost in {call}: {reason}; restart the worker, and look into the kernel's log if it happens again"
    )]
    Lost {
        /// What was asked of it.
        call: String,
        /// The driver's words.
        reason: String,
    },
    /// The device refused something; the attempt may succeed elsewhere or later.
    #[error(
        "the GPU failed in {call}: {reason}; if it happens again, look into the kernel's log and free memory on the GPU"
    )]
    Failed {
        /// What was asked of it.
        call: String,
        /// The driver's words.
        reason: String,
    },
}

impl DeviceError {
    /// Whether the same work may succeed elsewhere or later; a kernel that does not compile never will.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::OutOfMemory { .. } | Self::Lost { .. } | Self::Failed { .. } => {
                true
            }
            Self::Kernel { .. } => false,
        }
    }
}

/// Memory, kernels and products in one order of execution.
///
/// Calls return before the work is done; [`Device::read`] and [`Device::finish`] wait for all before them. Errors of work under
/// way appear there.
pub trait Device: fmt::Debug + Send + Sync {
    /// For people, e.g. `NVIDIA H100 80GB HBM3`.
    fn name(&self) -> String;

    /// The error with which it broke down, if it did: every later call fails.
    fn lost(&self) -> Option<DeviceError> {
        None
    }

    /// Its memory now.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn memory(&self) -> Result<DeviceMemory, DeviceError>;

    /// Takes memory, aligned to 256 bytes, its content undefined. [`Buffer::new`] gives it back.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`].
    fn allocate(&self, bytes: usize) -> Result<Address, DeviceError>;

    /// Gives memory back.
    fn release(&self, address: Address);

    /// Copies to the device; `bytes` may be reused when it returns.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Copies from the device, after everything before is done.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), DeviceError>;

    /// Sets bytes to zero.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn zero(&self, at: Address, bytes: usize) -> Result<(), DeviceError>;

    /// Whether there is a kernel of this name; some are for one architecture alone.
    ///
    /// # Errors
    /// [`DeviceError::Kernel`] when it cannot be looked up.
    fn has_kernel(&self, kernel: &'static str) -> Result<bool, DeviceError>;

    /// Starts a kernel.
    ///
    /// # Errors
    /// [`DeviceError::Kernel`] for an unknown one, [`DeviceError::Failed`].
    fn launch(&self, launch: Launch<'_>) -> Result<(), DeviceError>;

    /// Starts a product.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn multiply(&self, gemm: &Gemm) -> Result<(), DeviceError>;

    /// Records what `work` starts, to be repeated by [`Device::replay`]; does not run it. `None` where the device cannot.
    ///
    /// # Errors
    /// Those of `work`, [`DeviceError::Failed`].
    fn record(
        &self,
        work: &mut dyn FnMut() -> Result<(), DeviceError>,
    ) -> Result<Option<GraphId>, DeviceError>;

    /// Starts what was recorded.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn replay(&self, graph: GraphId) -> Result<(), DeviceError>;

    /// Forgets what was recorded.
    fn discard(&self, graph: GraphId);

    /// Waits until all is done.
    ///
    /// # Errors
    /// [`DeviceError::Failed`].
    fn finish(&self) -> Result<(), DeviceError>;
}

/// Memory of a device, given back when dropped.
#[derive(Debug)]
pub struct Buffer {
    device: Arc<dyn Device>,
    address: Address,
    bytes: usize,
}

impl Buffer {
    /// Takes memory.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`].
    pub fn new(device: &Arc<dyn Device>, bytes: usize) -> Result<Self, DeviceError> {
        let address = device.allocate(bytes.max(1))?;
        Ok(Self { device: Arc::clone(device), address, bytes })
    }

    /// Where it begins.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.device.release(self.address);
    }
}
