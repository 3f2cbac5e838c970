//! Calls of NVRTC. The library must have been opened before.

#![expect(unsafe_code, reason = "NVRTC is a C library")]

use std::{
    ffi::{CString, c_char, c_int},
    ptr,
};

use cudarc::nvrtc::{result, sys};

use super::Architecture;
use crate::cuda::DeviceError;

/// A program, destroyed when dropped.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: this owns the program. Nothing can be done when it fails.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

/// The version, and the architectures that it compiles for.
pub(super) fn version() -> Result<((i32, i32), Vec<Architecture>), DeviceError> {
    let unusable = |error: result::NvrtcError| DeviceError::Unavailable {
        reason: format!("NVRTC does not start: {error}"),
    };
    let (mut major, mut minor, mut count): (c_int, c_int, c_int) = (0, 0, 0);
    // SAFETY: the pointers are valid for the calls; the list has as many places as there are architectures.
    let known = unsafe {
        sys::nvrtcVersion(&raw mut major, &raw mut minor).result().map_err(unusable)?;
        sys::nvrtcGetNumSupportedArchs(&raw mut count).result().map_err(unusable)?;
        let mut known: Vec<c_int> = vec![0; usize::try_from(count).unwrap_or(0)];
        sys::nvrtcGetSupportedArchs(known.as_mut_ptr()).result().map_err(unusable)?;
        known
    };
    let known = known.into_iter().filter_map(|number| u32::try_from(number).ok());
    let known = known.map(|number| Architecture { major: number / 10, minor: number % 10 });
    Ok(((major, minor), known.collect()))
}

/// Compiles a program to machine code.
pub(super) fn compile(name: &str, program: &str, options: &[&str]) -> Result<Vec<u8>, DeviceError> {
    let failed = |reason: String| DeviceError::Kernel { kernel: name.to_owned(), reason };
    let text = |text: &str| CString::new(text).map_err(|error| failed(error.to_string()));
    let (c_name, c_program) = (text(name)?, text(program)?);
    let program =
        result::create_program(&c_program, Some(&c_name)).map_err(|error| failed(error.to_string()))?;
    let program = Program(program);
    // SAFETY: the program lives until the end of this function, and its name and text longer.
    if let Err(error) = unsafe { result::compile_program(program.0, options) } {
        // SAFETY: as above.
        let log = unsafe { result::get_program_log(program.0) }.unwrap_or_default();
        let log: Vec<u8> = log.into_iter().map(c_char::cast_unsigned).take_while(|byte| *byte != 0).collect();
        return Err(failed(format!("{error}\n{}", String::from_utf8_lossy(&log).trim_end())));
    }
    let mut bytes = 0;
    // SAFETY: the buffer has the size that NVRTC asked for.
    let cubin = unsafe {
        sys::nvrtcGetCUBINSize(program.0, &raw mut bytes)
            .result()
            .map_err(|error| failed(error.to_string()))?;
        let mut cubin = vec![0_u8; bytes];
        let to = if bytes == 0 { ptr::null_mut() } else { cubin.as_mut_ptr().cast() };
        sys::nvrtcGetCUBIN(program.0, to).result().map_err(|error| failed(error.to_string()))?;
        cubin
    };
    Ok(cubin)
}
