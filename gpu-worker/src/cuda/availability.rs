//! What there is of CUDA on a machine, and what is missing, without opening a GPU.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::{
    ffi::{CStr, c_char, c_int, c_uint},
    fmt,
    path::PathBuf,
};

use libloading::{Library, Symbol};

use super::{
    compiler::{Architecture, OLDEST},
    libraries::{CudaLibrary, Libraries, Missing},
};

const SUCCESS: c_int = 0;
const MAJOR: c_int = 75;
const MINOR: c_int = 76;

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// For people.
    pub name: String,
    /// What code it understands.
    pub architecture: Architecture,
    /// Its memory.
    pub memory_bytes: u64,
}

/// What there is of CUDA on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// Each library, and where it was found.
    pub libraries: Vec<(CudaLibrary, Result<PathBuf, Missing>)>,
    /// The version of CUDA that the driver knows.
    pub driver: Option<(u32, u32)>,
    /// All GPUs that the driver shows this process.
    pub gpus: Vec<Gpu>,
    /// Why the driver shows none, in its words.
    pub refusal: Option<String>,
}

impl Availability {
    /// Why no GPU can be used; None when one can.
    pub fn problem(&self) -> Option<String> {
        let needed = |library| {
            let found = self.libraries.iter().find(|(which, _)| *which == library);
            found.and_then(|(_, place)| place.as_ref().err()).map(Missing::to_string)
        };
        if let Some(missing) = needed(CudaLibrary::Driver) {
            return Some(missing);
        }
        if let Some(refusal) = &self.refusal {
            return Some(refusal.clone());
        }
        match self.gpus.iter().map(|gpu| gpu.architecture).max() {
            None => return Some("the driver shows no GPU".to_owned()),
            Some(newest) if newest < OLDEST => {
                return Some(format!("{newest} is too old, expected {OLDEST} or newer"));
            }
            Some(_) => {}
        }
        needed(CudaLibrary::Products).or_else(|| needed(CudaLibrary::Compiler))
    }

    /// Whether there is a GPU and only something else is missing.
    pub fn has_gpu(&self) -> bool {
        !self.gpus.is_empty()
    }
}

impl fmt::Display for Availability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, gpu) in self.gpus.iter().enumerate() {
            let gibibytes = gpu.memory_bytes >> 30;
            let comma = if index == 0 { "" } else { ", " };
            write!(formatter, "{comma}{} ({}, {gibibytes} GiB)", gpu.name, gpu.architecture)?;
        }
        if let Some((major, minor)) = self.driver {
            let comma = if self.gpus.is_empty() { "" } else { ", " };
            write!(formatter, "{comma}driver for CUDA {major}.{minor}")?;
        }
        Ok(())
    }
}

/// Looks at the libraries, and asks the driver for its GPUs.
pub fn availability(libraries: &Libraries) -> Availability {
    let mut places = Vec::new();
    let mut driver = None;
    for library in CudaLibrary::ALL {
        let found = libraries.open(library);
        places.push((library, found.as_ref().map(|found| found.place.clone()).map_err(Clone::clone)));
        if let (CudaLibrary::Driver, Ok(found)) = (library, found) {
            driver = Some(found.library);
        }
    }
    let mut availability = Availability { libraries: places, driver: None, gpus: Vec::new(), refusal: None };
    if let Some(library) = driver {
        availability.driver = version(&library);
        match gpus(&library) {
            Ok(gpus) => availability.gpus = gpus,
            Err(refusal) => availability.refusal = Some(refusal),
        }
    }
    availability
}

type GetName = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
type GetMemory = unsafe extern "C" fn(*mut usize, c_int) -> c_int;
type GetString = unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int;
type GetAttribute = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int;

fn function<'a, F>(library: &'a Library, name: &str) -> Result<Symbol<'a, F>, String> {
    // SAFETY: the callers give the driver's functions the types that they have in cuda.h.
    unsafe { library.get(name.as_bytes()) }.map_err(|_| format!("the driver has no {name}; update it"))
}

fn version(driver: &Library) -> Option<(u32, u32)> {
    let get = function::<unsafe extern "C" fn(*mut c_int) -> c_int>(driver, "cuDriverGetVersion").ok()?;
    let mut version = 0;
    // SAFETY: the pointer is valid for the call, which needs no start.
    let version = (unsafe { get(&raw mut version) } == SUCCESS).then_some(version)?;
    let version = u32::try_from(version).ok()?;
    Some((version / 1000, version % 1000 / 10))
}

fn gpus(driver: &Library) -> Result<Vec<Gpu>, String> {
    let init = function::<unsafe extern "C" fn(c_uint) -> c_int>(driver, "cuInit")?;
    let count_of = function::<unsafe extern "C" fn(*mut c_int) -> c_int>(driver, "cuDeviceGetCount")?;
    // SAFETY: the driver's first call; the flags must be 0.
    check(driver, "cuInit", unsafe { init(0) })?;
    let mut count = 0;
    // SAFETY: the pointer is valid for the call.
    check(driver, "cuDeviceGetCount", unsafe { count_of(&raw mut count) })?;
    (0..count).map(|ordinal| gpu(driver, ordinal)).collect()
}

fn gpu(driver: &Library, ordinal: c_int) -> Result<Gpu, String> {
    let get = function::<unsafe extern "C" fn(*mut c_int, c_int) -> c_int>(driver, "cuDeviceGet")?;
    let name_of = function::<GetName>(driver, "cuDeviceGetName")?;
    let memory_of = function::<GetMemory>(driver, "cuDeviceTotalMem_v2")?;
    let attribute_of = function::<GetAttribute>(driver, "cuDeviceGetAttribute")?;
    let (mut device, mut memory_bytes, mut major, mut minor) = (0, 0, 0, 0);
    let mut name = [0_u8; 256];
    // SAFETY: the pointers are valid for the calls, and the name has the length that is said.
    unsafe {
        check(driver, "cuDeviceGet", get(&raw mut device, ordinal))?;
        check(driver, "cuDeviceGetName", name_of(name.as_mut_ptr().cast(), 256, device))?;
        check(driver, "cuDeviceTotalMem", memory_of(&raw mut memory_bytes, device))?;
        check(driver, "cuDeviceGetAttribute", attribute_of(&raw mut major, MAJOR, device))?;
        check(driver, "cuDeviceGetAttribute", attribute_of(&raw mut minor, MINOR, device))?;
    }
    let name = CStr::from_bytes_until_nul(&name).map_or_else(|_| "GPU".into(), CStr::to_string_lossy);
    let number = |value: c_int| u32::try_from(value).unwrap_or(0);
    Ok(Gpu {
        name: name.into_owned(),
        architecture: Architecture { major: number(major), minor: number(minor) },
        memory_bytes: memory_bytes as u64,
    })
}

fn check(driver: &Library, call: &str, answer: c_int) -> Result<(), String> {
    if answer == SUCCESS {
        return Ok(());
    }
    let mut text = std::ptr::null();
    let words = function::<GetString>(driver, "cuGetErrorString").ok().and_then(|get| {
        // SAFETY: the driver sets the pointer to a text that it keeps, or to null.
        unsafe {
            let known = get(answer, &raw mut text) == SUCCESS && !text.is_null();
            known.then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    });
    Err(format!("{call} says: {} (error {answer})", words.unwrap_or_else(|| "it failed".to_owned())))
}

#[cfg(test)]
mod tests;
