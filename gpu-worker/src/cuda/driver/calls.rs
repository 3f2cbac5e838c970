//! Calls of the CUDA driver, each with its errors told. The library must have been opened before.

#![expect(unsafe_code, reason = "the driver is a C library")]

mod modules;
mod stream;

use std::{
    ffi::{CStr, c_void},
    ptr,
};

use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute, CUresult};

use crate::cuda::{Address, DeviceError, DeviceMemory, compiler::Architecture};

pub(super) use self::{
    modules::{Function, Module},
    stream::{Event, Graph, Stream},
};

/// A handle of the driver. The driver's calls may come from any thread that has the context.
#[derive(Debug)]
struct Handle<T>(*mut T);

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

// SAFETY: the driver locks what its handles stand for; only the driver looks behind them.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Handle<T> {}

/// Turns an answer into an error that names the call.
fn check(call: &str, answer: CUresult) -> Result<(), DeviceError> {
    match answer {
        CUresult::CUDA_SUCCESS => Ok(()),
        lost if is_lost(lost) => Err(DeviceError::Lost { call: call.to_owned(), reason: words(lost) }),
        other => Err(failed(call, words(other))),
    }
}

pub(super) fn failed(call: &str, reason: impl Into<String>) -> DeviceError {
    DeviceError::Failed { call: call.to_owned(), reason: reason.into() }
}

/// After these every further call on the context fails.
fn is_lost(answer: CUresult) -> bool {
    matches!(
        answer,
        CUresult::CUDA_ERROR_DEINITIALIZED
            | CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE
            | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
            | CUresult::CUDA_ERROR_NVLINK_UNCORRECTABLE
            | CUresult::CUDA_ERROR_CONTAINED
            | CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
            | CUresult::CUDA_ERROR_TENSOR_MEMORY_LEAK
            | CUresult::CUDA_ERROR_UNKNOWN
    )
}

/// The error's name and the driver's sentence about it.
fn words(answer: CUresult) -> String {
    let mut text = ptr::null();
    // SAFETY: the driver sets the pointer to a text that it keeps, or to null.
    let text = unsafe {
        let known = sys::cuGetErrorString(answer, &raw mut text) == CUresult::CUDA_SUCCESS && !text.is_null();
        known.then(|| CStr::from_ptr(text).to_string_lossy())
    };
    let text = text.unwrap_or_else(|| "unknown to this driver".into());
    format!("{text} ({answer:?})")
}

/// What the driver says of one device.
#[derive(Debug, Clone)]
pub(super) struct DeviceInfo {
    pub(super) name: String,
    pub(super) architecture: Architecture,
    /// Where it sits, as NVML names it.
    pub(super) bus_id: String,
}

/// The version of CUDA that the driver knows.
pub(super) fn driver_version() -> Result<(i32, i32), DeviceError> {
    let mut version = 0;
    // SAFETY: the pointer is valid for the call.
    check("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&raw mut version) })?;
    Ok((version / 1000, version % 1000 / 10))
}

/// Starts the driver and asks for a device.
pub(super) fn device_info(ordinal: u32) -> Result<DeviceInfo, DeviceError> {
    let device = device(ordinal)?;
    let (mut name, mut bus_id) = ([0_u8; 256], [0_u8; 64]);
    let attribute = |which, call| {
        let mut value = 0;
        // SAFETY: the pointer is valid for the call.
        check(call, unsafe { sys::cuDeviceGetAttribute(&raw mut value, which, device) })?;
        Ok::<_, DeviceError>(u32::try_from(value).unwrap_or(0))
    };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, "cuDeviceGetAttribute")?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, "cuDeviceGetAttribute")?;
    // SAFETY: both texts fit, or are cut by the driver.
    unsafe {
        check("cuDeviceGetName", sys::cuDeviceGetName(name.as_mut_ptr().cast(), 256, device))?;
        check("cuDeviceGetPCIBusId", sys::cuDeviceGetPCIBusId(bus_id.as_mut_ptr().cast(), 64, device))?;
    }
    let text = |bytes: &[u8]| {
        CStr::from_bytes_until_nul(bytes)
            .map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
    };
    Ok(DeviceInfo { name: text(&name), architecture: Architecture { major, minor }, bus_id: text(&bus_id) })
}

fn device(ordinal: u32) -> Result<sys::CUdevice, DeviceError> {
    let unusable = |call: &str, answer: CUresult| match answer {
        CUresult::CUDA_SUCCESS => Ok(()),
        other => Err(DeviceError::Unavailable { reason: format!("{call} says: {}", words(other)) }),
    };
    let (mut device, mut count) = (0, 0);
    // SAFETY: the pointers are valid for the calls.
    unsafe {
        unusable("cuInit", sys::cuInit(0))?;
        unusable("cuDeviceGetCount", sys::cuDeviceGetCount(&raw mut count))?;
        let number = i32::try_from(ordinal).ok().filter(|number| *number < count);
        let Some(number) = number else {
            let reason = format!("there is no device {ordinal}, only {count}, counted from 0");
            return Err(DeviceError::Unavailable { reason });
        };
        unusable("cuDeviceGet", sys::cuDeviceGet(&raw mut device, number))?;
    }
    Ok(device)
}

/// The context that all users of a device in this process share.
#[derive(Debug)]
pub(super) struct Context {
    handle: Handle<sys::CUctx_st>,
    device: sys::CUdevice,
}

impl Context {
    pub(super) fn new(ordinal: u32) -> Result<Self, DeviceError> {
        let device = device(ordinal)?;
        let mut handle = ptr::null_mut();
        // SAFETY: the pointer is valid for the call.
        match unsafe { sys::cuDevicePrimaryCtxRetain(&raw mut handle, device) } {
            CUresult::CUDA_SUCCESS => {}
            other => {
                let reason = format!("cuDevicePrimaryCtxRetain says: {}", words(other));
                return Err(DeviceError::Unavailable { reason });
            }
        }
        let context = Self { handle: Handle(handle), device };
        context.bind()?;
        Ok(context)
    }

    /// Makes this the context of the calling thread. Every other call here needs it.
    pub(super) fn bind(&self) -> Result<(), DeviceError> {
        // SAFETY: this holds the context.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.handle.0) })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: one release for the one that was taken.
        log("cuDevicePrimaryCtxRelease", unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) });
    }
}

/// Says what went wrong where nobody can be told.
fn log(call: &str, answer: CUresult) {
    // At the end of a process the driver may be gone before its users.
    if answer != CUresult::CUDA_ERROR_DEINITIALIZED
        && let Err(error) = check(call, answer)
    {
        // Of a lost device the first error was told; these follow from it.
        match error {
            DeviceError::Lost { .. } => tracing::debug!("{error}"),
            other => tracing::warn!("{other}"),
        }
    }
}

pub(super) fn memory() -> Result<DeviceMemory, DeviceError> {
    let (mut free, mut total) = (0, 0);
    // SAFETY: the pointers are valid for the call.
    check("cuMemGetInfo", unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) })?;
    Ok(DeviceMemory { free: free as u64, total: total as u64 })
}

pub(super) fn allocate(bytes: usize) -> Result<Address, DeviceError> {
    let mut address = 0;
    // SAFETY: the pointer is valid for the call.
    match unsafe { sys::cuMemAlloc_v2(&raw mut address, bytes) } {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            Err(DeviceError::OutOfMemory { bytes: bytes as u64, free: memory()?.free })
        }
        answer => check("cuMemAlloc", answer).map(|()| Address(address)),
    }
}

pub(super) fn release(address: Address) {
    // SAFETY: the driver refuses an address that it did not give; work under way is waited for.
    log("cuMemFree", unsafe { sys::cuMemFree_v2(address.0) });
}

/// Memory of the host that the device copies from without the processor.
#[derive(Debug)]
pub(super) struct PinnedMemory {
    start: Handle<c_void>,
    bytes: usize,
}

impl PinnedMemory {
    pub(super) fn new(bytes: usize) -> Result<Self, DeviceError> {
        let mut start = ptr::null_mut();
        // SAFETY: the pointer is valid for the call.
        check("cuMemHostAlloc", unsafe { sys::cuMemHostAlloc(&raw mut start, bytes, 0) })?;
        Ok(Self { start: Handle(start), bytes })
    }

    /// Copies into it. Nobody may be reading there.
    pub(super) fn fill(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset.checked_add(bytes.len()).is_some_and(|end| end <= self.bytes), "beyond pinned memory");
        // SAFETY: the range lies in this memory, and the slice elsewhere.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.0.cast::<u8>().add(offset), bytes.len());
        }
    }
}

impl Drop for PinnedMemory {
    fn drop(&mut self) {
        // SAFETY: this owns the memory; whoever drops it has waited for the copies from it.
        log("cuMemFreeHost", unsafe { sys::cuMemFreeHost(self.start.0) });
    }
}
