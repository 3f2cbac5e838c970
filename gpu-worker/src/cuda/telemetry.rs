//! Load, temperature and errors of a GPU, as NVML tells them.

#![expect(unsafe_code, reason = "NVML is a C library")]

use std::{
    ffi::{CString, c_char, c_int, c_uint, c_ulonglong, c_void},
    fmt, ptr,
};

use libloading::Library;

use super::libraries::{CudaLibrary, Libraries};

const SUCCESS: c_int = 0;
const TEMPERATURE_OF_THE_GPU: c_uint = 0;
const UNCORRECTED: c_uint = 1;
const SINCE_THE_DRIVER_STARTED: c_uint = 0;

type Device = *mut c_void;
type Find = unsafe extern "C" fn(*const c_char, *mut Device) -> c_int;
type Ask<T> = unsafe extern "C" fn(Device, *mut T) -> c_int;

/// What a GPU reports at one moment. None stands for what this GPU does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reading {
    /// Part of the last moments in which a kernel ran, 0 to 1.
    pub utilisation: Option<f64>,
    /// Memory in use by all processes.
    pub memory_used_bytes: Option<u64>,
    /// All of its memory.
    pub memory_total_bytes: Option<u64>,
    /// In degrees Celsius.
    pub temperature_celsius: Option<u32>,
    /// In watts.
    pub power_watts: Option<f64>,
    /// Errors of memory that could not be corrected, since the driver started.
    pub uncorrected_errors: Option<u64>,
}

/// A GPU that can be asked how it is.
pub struct Telemetry {
    library: Library,
    device: Device,
}

// SAFETY: NVML says that its functions may be called from any thread; only it looks behind the handle.
unsafe impl Send for Telemetry {}
// SAFETY: as above.
unsafe impl Sync for Telemetry {}

impl fmt::Debug for Telemetry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

#[repr(C)]
#[derive(Default)]
struct Utilisation {
    gpu: c_uint,
    memory: c_uint,
}

#[repr(C)]
#[derive(Default)]
struct Memory {
    total: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

impl Telemetry {
    /// Finds a GPU by the place where it sits. None when NVML is missing or does not know it.
    pub fn open(libraries: &Libraries, bus_id: &str) -> Option<Self> {
        let library = libraries.open(CudaLibrary::Telemetry).ok()?.library;
        let bus_id = CString::new(bus_id).ok()?;
        let mut device: Device = ptr::null_mut();
        // SAFETY: the functions have these types since NVML 5; the text ends with a zero, the pointer is valid for the call.
        unsafe {
            let init = library.get::<unsafe extern "C" fn() -> c_int>(b"nvmlInit_v2").ok()?;
            let find = library.get::<Find>(b"nvmlDeviceGetHandleByPciBusId_v2").ok()?;
            if init() != SUCCESS || find(bus_id.as_ptr(), &raw mut device) != SUCCESS {
                return None;
            }
        }
        Some(Self { library, device })
    }

    /// How the GPU is now.
    pub fn read(&self) -> Reading {
        let utilisation: Option<Utilisation> = self.ask(b"nvmlDeviceGetUtilizationRates");
        let memory: Option<Memory> = self.ask(b"nvmlDeviceGetMemoryInfo");
        let milliwatts: Option<c_uint> = self.ask(b"nvmlDeviceGetPowerUsage");
        Reading {
            utilisation: utilisation.map(|utilisation| f64::from(utilisation.gpu) / 100.0),
            memory_used_bytes: memory.as_ref().map(|memory| memory.used),
            memory_total_bytes: memory.as_ref().map(|memory| memory.total),
            temperature_celsius: self.temperature(),
            power_watts: milliwatts.map(|milliwatts| f64::from(milliwatts) / 1000.0),
            uncorrected_errors: self.uncorrected_errors(),
        }
    }

    /// Calls a function that fills in one value.
    fn ask<T: Default>(&self, function: &[u8]) -> Option<T> {
        let mut value = T::default();
        // SAFETY: the callers name functions that take a device and the address of such a value.
        let answer = unsafe { self.library.get::<Ask<T>>(function).ok()?(self.device, &raw mut value) };
        (answer == SUCCESS).then_some(value)
    }

    fn temperature(&self) -> Option<u32> {
        type Function = unsafe extern "C" fn(Device, c_uint, *mut c_uint) -> c_int;
        let mut value = 0;
        // SAFETY: the function has this type, and the pointer is valid for the call.
        let answer = unsafe {
            let function = self.library.get::<Function>(b"nvmlDeviceGetTemperature").ok()?;
            function(self.device, TEMPERATURE_OF_THE_GPU, &raw mut value)
        };
        (answer == SUCCESS).then_some(value)
    }

    fn uncorrected_errors(&self) -> Option<u64> {
        type Function = unsafe extern "C" fn(Device, c_uint, c_uint, *mut c_ulonglong) -> c_int;
        let mut value = 0;
        // SAFETY: the function has this type, and the pointer is valid for the call.
        let answer = unsafe {
            let function = self.library.get::<Function>(b"nvmlDeviceGetTotalEccErrors").ok()?;
            function(self.device, UNCORRECTED, SINCE_THE_DRIVER_STARTED, &raw mut value)
        };
        (answer == SUCCESS).then_some(value)
    }
}

#[cfg(test)]
mod tests;
