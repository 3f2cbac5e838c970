//! Devices that run the CUDA engine's kernels: a GPU, and in tests the CPU under an emulator.

mod device;
#[cfg(test)]
pub(crate) mod emulated;
pub mod kernels;
#[cfg(test)]
pub(crate) mod testing;

pub use device::{
    Address, Argument, Buffer, Device, DeviceError, DeviceMemory, Element, Gemm, GraphId, Launch, Operand,
};
