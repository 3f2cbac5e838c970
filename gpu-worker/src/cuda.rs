//! Devices that run the CUDA engine's kernels: a GPU, and in tests the CPU under an emulator.

mod device;
#[cfg(test)]
pub(crate) mod emulated;
pub mod kernels;
mod rows;
#[cfg(test)]
pub(crate) mod testing;

pub use device::{
    Address, Argument, Buffer, Device, DeviceError, DeviceMemory, Element, Gemm, GraphId, Launch, Operand,
};
pub use rows::Rows;
pub(crate) use rows::{THREADS, arguments, blocks, launch_strided};
