//! Calls that put work in order: streams, events in them, and recordings.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{ffi::c_void, ptr};

use cudarc::driver::sys;

use super::{Handle, PinnedMemory, check, log, modules::Function};
use crate::cuda::{Address, DeviceError};

/// Something in a stream's order that can be waited for.
#[derive(Debug)]
pub(in crate::cuda::driver) struct Event(Handle<sys::CUevent_st>);

impl Event {
    pub(in crate::cuda::driver) fn new() -> Result<Self, DeviceError> {
        let mut handle = ptr::null_mut();
        let flags = sys::CUevent_flags_enum::CU_EVENT_DISABLE_TIMING as u32;
        // SAFETY: the pointer is valid for the call.
        check("cuEventCreate", unsafe { sys::cuEventCreate(&raw mut handle, flags) })?;
        Ok(Self(Handle(handle)))
    }

    pub(in crate::cuda::driver) fn wait(&self) -> Result<(), DeviceError> {
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
pub(in crate::cuda::driver) struct Stream(Handle<sys::CUstream_st>);

impl Stream {
    pub(in crate::cuda::driver) fn new() -> Result<Self, DeviceError> {
        let mut handle = ptr::null_mut();
        let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the pointer is valid for the call.
        check("cuStreamCreate", unsafe { sys::cuStreamCreate(&raw mut handle, flags) })?;
        Ok(Self(Handle(handle)))
    }

    /// For cuBLASLt.
    pub(in crate::cuda::driver) fn as_raw(&self) -> *mut c_void {
        self.0.0.cast()
    }

    pub(in crate::cuda::driver) fn wait(&self, call: &str) -> Result<(), DeviceError> {
        // SAFETY: this owns the stream.
        check(call, unsafe { sys::cuStreamSynchronize(self.0.0) })
    }

    /// The bytes must stay as they are until the copy is done.
    pub(in crate::cuda::driver) fn write(
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
    pub(in crate::cuda::driver) fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), DeviceError> {
        // SAFETY: the slice lives until the copy is done, because this waits for it; the driver checks the source.
        let answer =
            unsafe { sys::cuMemcpyDtoHAsync_v2(bytes.as_mut_ptr().cast(), from.0, bytes.len(), self.0.0) };
        let waited = self.wait("cuMemcpyDtoHAsync");
        check("cuMemcpyDtoHAsync", answer).and(waited)
    }

    pub(in crate::cuda::driver) fn zero(&self, at: Address, bytes: usize) -> Result<(), DeviceError> {
        // SAFETY: the driver checks the target.
        check("cuMemsetD8Async", unsafe { sys::cuMemsetD8Async(at.0, 0, bytes, self.0.0) })
    }

    pub(in crate::cuda::driver) fn record(&self, event: &Event) -> Result<(), DeviceError> {
        // SAFETY: both handles are alive.
        check("cuEventRecord", unsafe { sys::cuEventRecord(event.0.0, self.0.0) })
    }

    /// Starts a kernel; its arguments lie in the lower bytes of the values.
    pub(in crate::cuda::driver) fn launch(
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
    pub(in crate::cuda::driver) fn begin_recording(&self) -> Result<(), DeviceError> {
        let mode = sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: this owns the stream.
        check("cuStreamBeginCapture", unsafe { sys::cuStreamBeginCapture_v2(self.0.0, mode) })
    }

    /// What was recorded, ready to run.
    pub(in crate::cuda::driver) fn end_recording(&self) -> Result<Graph, DeviceError> {
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

    pub(in crate::cuda::driver) fn replay(&self, graph: &Graph) -> Result<(), DeviceError> {
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
pub(in crate::cuda::driver) struct Graph(Handle<sys::CUgraphExec_st>);

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: this owns the graph; the driver keeps it while it runs.
        log("cuGraphExecDestroy", unsafe { sys::cuGraphExecDestroy(self.0.0) });
    }
}
