//! Calls that load kernels and ask for their parameters.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{ffi::CString, ptr};

use cudarc::driver::sys::{self, CUresult};

use super::{Handle, check, log, words};
use crate::cuda::DeviceError;

/// Loaded machine code.
#[derive(Debug)]
pub(in crate::cuda::driver) struct Module(Handle<sys::CUmod_st>);

impl Module {
    pub(in crate::cuda::driver) fn new(name: &str, cubin: &[u8]) -> Result<Self, DeviceError> {
        let mut handle = ptr::null_mut();
        // SAFETY: the image is a whole cubin: it comes from the compiler or from the cache, which checks its digest.
        match unsafe { sys::cuModuleLoadData(&raw mut handle, cubin.as_ptr().cast()) } {
            CUresult::CUDA_SUCCESS => Ok(Self(Handle(handle))),
            other => Err(DeviceError::Kernel { kernel: name.to_owned(), reason: words(other) }),
        }
    }

    /// A kernel of it, if it has one of this name.
    pub(in crate::cuda::driver) fn function(
        &self,
        name: &'static str,
    ) -> Result<Option<Function>, DeviceError> {
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
pub(in crate::cuda::driver) struct Function {
    pub(super) name: &'static str,
    pub(super) handle: Handle<sys::CUfunc_st>,
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
    pub(in crate::cuda::driver) fn parameters(&self) -> &[usize] {
        &self.parameters
    }

    /// Lets launches ask for so much dynamic shared memory.
    pub(in crate::cuda::driver) fn allow_shared(&mut self, bytes: u32) -> Result<(), DeviceError> {
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
