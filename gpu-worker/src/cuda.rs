//! Devices that run the CUDA engine's kernels: a GPU, and in tests the CPU under an emulator.

pub mod availability;
pub mod compiler;
mod device;
pub mod driver;
#[cfg(test)]
pub(crate) mod emulated;
pub mod kernels;
pub mod libraries;
mod rows;
pub mod telemetry;
#[cfg(test)]
pub(crate) mod testing;

pub use device::{
    Address, Argument, Buffer, Device, DeviceError, DeviceMemory, Element, Gemm, GraphId, Launch, Operand,
};
pub use driver::{CudaDevice, CudaOptions, ProductUse};
pub use rows::Rows;
pub(crate) use rows::{THREADS, arguments, blocks, int_bytes, launch_strided};
