//! Calls of the CUDA driver, each with its errors told. The library must have been opened before.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{
    ffi::{CStr, CString, c_void},
    ptr,
};

use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute, CUresult};

use crate::cuda::{Address, DeviceError, DeviceMemory, compiler::Architecture};

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

/// Something in a stream's order that can be waited for.
#[derive(Debug)]
pub(super) struct Event(Handle<sys::CUevent_st>);

impl Event {
    pub(super) fn new() -> Result<Self, DeviceError> {
        let mut handle = ptr::null_mut();
        let flags = sys::CUevent_flags_enum::CU_EVENT_DISABLE_TIMING as u32;
        // SAFETY: the pointer is valid for the call.
        check("cuEventCreate", unsafe { sys::cuEventCreate(&raw mut handle, flags) })?;
        Ok(Self(Handle(handle)))
    }

    pub(super) fn wait(&self) -> Result<(), DeviceError> {
        // SAFETY: this owns the event.
        check("cuEventSynchronize", unsafe { sys::cuEventSynchronize(self.0.0) })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: this owns the event; the driver keeps what it still needs of it.
        log("cuEventDestroy", unsafe { sys::cuEventDestroy_v2(self.0.0) });
    }
}

/// An order of execution.
#[derive(Debug)]
pub(super) struct Stream(Handle<sys::CUstream_st>);

impl Stream {
    pub(super) fn new() -> Result<Self, DeviceError> {
        let mut handle = ptr::null_mut();
        let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the pointer is valid for the call.
        check("cuStreamCreate", unsafe { sys::cuStreamCreate(&raw mut handle, flags) })?;
        Ok(Self(Handle(handle)))
    }

    /// For cuBLASLt.
    pub(super) fn as_raw(&self) -> *mut c_void {
        self.0.0.cast()
    }

    pub(super) fn wait(&self, call: &str) -> Result<(), DeviceError> {
        // SAFETY: this owns the stream.
        check(call, unsafe { sys::cuStreamSynchronize(self.0.0) })
    }

    /// The bytes must stay as they are until the copy is done.
    pub(super) fn write(
        &self,
        to: Address,
        from: &PinnedMemory,
        offset: usize,
        bytes: usize,
    ) -> Result<(), DeviceError> {
        assert!(offset.checked_add(bytes).is_some_and(|end| end <= from.bytes), "beyond pinned memory");
        // SAFETY: the source lies in pinned memory; the driver checks the target.
        let answer = unsafe {
            sys::cuMemcpyHtoDAsync_v2(to.0, from.start.0.cast::<u8>().add(offset).cast(), bytes, self.0.0)
        };
        check("cuMemcpyHtoDAsync", answer)
    }

    /// Waits for all before, and for the copy.
    pub(super) fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), DeviceError> {
        // SAFETY: the slice lives until the copy is done, because this waits for it; the driver checks the source.
        let answer =
            unsafe { sys::cuMemcpyDtoHAsync_v2(bytes.as_mut_ptr().cast(), from.0, bytes.len(), self.0.0) };
        let waited = self.wait("cuMemcpyDtoHAsync");
        check("cuMemcpyDtoHAsync", answer).and(waited)
    }

    pub(super) fn zero(&self, at: Address, bytes: usize) -> Result<(), DeviceError> {
        // SAFETY: the driver checks the target.
        check("cuMemsetD8Async", unsafe { sys::cuMemsetD8Async(at.0, 0, bytes, self.0.0) })
    }

    pub(super) fn record(&self, event: &Event) -> Result<(), DeviceError> {
        // SAFETY: both handles are alive.
        check("cuEventRecord", unsafe { sys::cuEventRecord(event.0.0, self.0.0) })
    }

    /// Starts a kernel; its arguments lie in the lower bytes of the values.
    pub(super) fn launch(
        &self,
        function: &Function,
        [x, y, z]: [u32; 3],
        threads: u32,
        shared_bytes: u32,
        values: &mut [u64],
    ) -> Result<(), DeviceError> {
        let mut arguments: Vec<*mut c_void> =
            values.iter_mut().map(|value| ptr::from_mut(value).cast()).collect();
        // SAFETY: the kernel copies as many arguments as it has, of at most eight bytes each, before this returns; the
        // caller compared their number and sizes with the kernel's parameters. What its addresses point to is the caller's promise, which the device enforces.
        let answer = unsafe {
            sys::cuLaunchKernel(
                function.handle.0,
                x,
                y,
                z,
                threads,
                1,
                1,
                shared_bytes,
                self.0.0,
                arguments.as_mut_ptr(),
                ptr::null_mut(),
            )
        };
        check(function.name, answer)
    }

    /// From now on, work of this thread on the stream is recorded and not done.
    pub(super) fn begin_recording(&self) -> Result<(), DeviceError> {
        let mode = sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: this owns the stream.
        check("cuStreamBeginCapture", unsafe { sys::cuStreamBeginCapture_v2(self.0.0, mode) })
    }

    /// What was recorded, ready to run.
    pub(super) fn end_recording(&self) -> Result<Graph, DeviceError> {
        let (mut graph, mut executable) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: this owns the stream, and the graph until it is destroyed. The executable one does not need it.
        unsafe {
            check("cuStreamEndCapture", sys::cuStreamEndCapture(self.0.0, &raw mut graph))?;
            let answer = sys::cuGraphInstantiateWithFlags(&raw mut executable, graph, 0);
            log("cuGraphDestroy", sys::cuGraphDestroy(graph));
            check("cuGraphInstantiate", answer)?;
        }
        Ok(Graph(Handle(executable)))
    }

    pub(super) fn replay(&self, graph: &Graph) -> Result<(), DeviceError> {
        // SAFETY: both handles are alive.
        check("cuGraphLaunch", unsafe { sys::cuGraphLaunch(graph.0.0, self.0.0) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: this owns the stream; work under way goes on.
        log("cuStreamDestroy", unsafe { sys::cuStreamDestroy_v2(self.0.0) });
    }
}

/// Recorded work.
#[derive(Debug)]
pub(super) struct Graph(Handle<sys::CUgraphExec_st>);

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: this owns the graph; the driver keeps it while it runs.
        log("cuGraphExecDestroy", unsafe { sys::cuGraphExecDestroy(self.0.0) });
    }
}

/// Loaded machine code.
#[derive(Debug)]
pub(super) struct Module(Handle<sys::CUmod_st>);

impl Module {
    pub(super) fn new(name: &str, cubin: &[u8]) -> Result<Self, DeviceError> {
        let mut handle = ptr::null_mut();
        // SAFETY: the image is a whole cubin: it comes from the compiler or from the cache, which checks its digest.
        match unsafe { sys::cuModuleLoadData(&raw mut handle, cubin.as_ptr().cast()) } {
            CUresult::CUDA_SUCCESS => Ok(Self(Handle(handle))),
            other => Err(DeviceError::Kernel { kernel: name.to_owned(), reason: words(other) }),
        }
    }

    /// A kernel of it, if it has one of this name.
    pub(super) fn function(&self, name: &'static str) -> Result<Option<Function>, DeviceError> {
        let failed = |reason: String| DeviceError::Kernel { kernel: name.to_owned(), reason };
        let c_name = CString::new(name).map_err(|error| failed(error.to_string()))?;
        let mut handle = ptr::null_mut();
        // SAFETY: the module is alive, and the name ends with a zero.
        match unsafe { sys::cuModuleGetFunction(&raw mut handle, self.0.0, c_name.as_ptr()) } {
            CUresult::CUDA_SUCCESS => Function::new(name, Handle(handle)).map(Some),
            CUresult::CUDA_ERROR_NOT_FOUND => Ok(None),
            other => Err(failed(words(other))),
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: this owns the module; the device waits for work under way before it drops it.
        log("cuModuleUnload", unsafe { sys::cuModuleUnload(self.0.0) });
    }
}

/// A kernel of a loaded module.
#[derive(Debug)]
pub(super) struct Function {
    name: &'static str,
    handle: Handle<sys::CUfunc_st>,
    /// Dynamic shared memory that a launch may ask for.
    shared_bytes: u32,
    /// Bytes of each parameter.
    parameters: Vec<usize>,
}

impl Function {
    fn new(name: &'static str, handle: Handle<sys::CUfunc_st>) -> Result<Self, DeviceError> {
        let mut parameters = Vec::new();
        loop {
            let (mut offset, mut bytes) = (0, 0);
            // SAFETY: the function's module is alive, and the pointers are valid for the call.
            let answer = unsafe {
                sys::cuFuncGetParamInfo(handle.0, parameters.len(), &raw mut offset, &raw mut bytes)
            };
            match answer {
                CUresult::CUDA_SUCCESS => parameters.push(bytes),
                CUresult::CUDA_ERROR_INVALID_VALUE => break,
                other => {
                    check("cuFuncGetParamInfo", other)?;
                    break;
                }
            }
        }
        Ok(Self { name, handle, shared_bytes: 0, parameters })
    }

    /// Bytes of each parameter, in order.
    pub(super) fn parameters(&self) -> &[usize] {
        &self.parameters
    }

    /// Lets launches ask for so much dynamic shared memory.
    pub(super) fn allow_shared(&mut self, bytes: u32) -> Result<(), DeviceError> {
        if bytes <= self.shared_bytes {
            return Ok(());
        }
        let which = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let value = i32::try_from(bytes).unwrap_or(i32::MAX);
        // SAFETY: the function's module is alive.
        check(self.name, unsafe { sys::cuFuncSetAttribute(self.handle.0, which, value) })?;
        self.shared_bytes = bytes;
        Ok(())
    }
}
