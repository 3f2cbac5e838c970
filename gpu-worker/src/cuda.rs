//! Devices that run the CUDA engine's kernels: a GPU, and in tests the CPU under an emulator.

mod device;
mod rows;

pub use device::{
    Address, Argument, Buffer, Device, DeviceError, DeviceMemory, Element, Gemm, GraphId, Launch, Operand,
};
pub use rows::Rows;
pub(crate) use rows::{arguments, blocks};
