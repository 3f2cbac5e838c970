//! Devices that run the CUDA engine's kernels: a GPU, and in tests the CPU under an emulator.

mod device;

pub use device::{
    Address, Argument, Buffer, Device, DeviceError, DeviceMemory, Element, Gemm, GraphId, Launch, Operand,
};
