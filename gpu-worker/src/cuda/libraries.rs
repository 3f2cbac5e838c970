//! Finds CUDA's libraries, which this program opens only when a GPU is asked for.

#![expect(unsafe_code, reason = "opening a library runs its initialisation")]

use std::{
    env, fmt, mem,
    path::{Path, PathBuf},
};

use libloading::Library;

use super::DeviceError;

/// Folders with CUDA's libraries, separated by colons; searched before the loader's.
pub const LIBRARIES_VARIABLE: &str = "CLARA_CUDA_LIBRARIES";

/// A library of CUDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CudaLibrary {
    /// The driver, `libcuda`.
    Driver,
    /// Matrix products, `libcublasLt`.
    Products,
    /// The compiler of kernels, `libnvrtc`.
    Compiler,
    /// Temperatures and load, `libnvidia-ml`.
    Telemetry,
}

impl CudaLibrary {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Driver, Self::Products, Self::Compiler, Self::Telemetry];

    /// Its file's names, the newest first.
    pub fn file_names(self) -> &'static [&'static str] {
        match self {
            Self::Driver => &["libcuda.so.1"],
            Self::Products => &["libcublasLt.so.13", "libcublasLt.so.12"],
            Self::Compiler => &["libnvrtc.so.13", "libnvrtc.so.12"],
            Self::Telemetry => &["libnvidia-ml.so.1"],
        }
    }

    /// How to get it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Driver | Self::Telemetry => "install the driver of the GPU",
            Self::Products => "install CUDA 13, or the Python package nvidia-cublas",
            Self::Compiler => "install CUDA 13, or the Python package nvidia-cuda-nvrtc",
        }
    }
}

impl fmt::Display for CudaLibrary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Driver => "CUDA driver",
            Self::Products => "cuBLASLt",
            Self::Compiler => "NVRTC",
            Self::Telemetry => "NVML",
        })
    }
}

/// An open library, and by what name or path it was found.
#[derive(Debug)]
pub struct Found {
    /// Its functions. They stay when this is dropped.
    pub(super) library: Library,
    /// A path, or a bare name that the loader knows.
    pub place: PathBuf,
}

/// A library that is not there, or does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub library: CudaLibrary,
    /// Where it was looked for, and what came of it where a file was there.
    pub looked: Vec<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.library.file_names().first().copied().unwrap_or_default();
        write!(
            formatter,
            "{name} ({}) is missing: looked in {}; {}, or name its folder in {LIBRARIES_VARIABLE}",
            self.library,
            self.looked.join(", "),
            self.library.remedy()
        )
    }
}

impl From<Missing> for DeviceError {
    fn from(missing: Missing) -> Self {
        Self::Unavailable { reason: missing.to_string() }
    }
}

/// Where libraries are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Libraries {
    /// Before all others.
    pub first: Vec<PathBuf>,
    /// Whether the loader is asked after them.
    pub loader: bool,
    /// After all others.
    pub last: Vec<PathBuf>,
}

impl Libraries {
    /// The folders of [`LIBRARIES_VARIABLE`], the loader's, and those of a CUDA toolkit.
    pub fn from_environment() -> Self {
        let folders = |name| env::var_os(name).map(|value| env::split_paths(&value).collect::<Vec<_>>());
        let mut last = Vec::new();
        for home in ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os) {
            last.push(Path::new(&home).join("lib64"));
        }
        last.push(PathBuf::from("/usr/local/cuda/lib64"));
        Self { first: folders(LIBRARIES_VARIABLE).unwrap_or_default(), loader: true, last }
    }

    /// Opens a library; it then stays open to the end of the process, so that later openings by bare name find it too.
    ///
    /// # Errors
    /// [`Missing`] when it is nowhere, or what is there does not open.
    pub fn open(&self, library: CudaLibrary) -> Result<Found, Missing> {
        let mut looked = Vec::new();
        if let Some(found) = open_in(&self.first, library, &mut looked) {
            return Ok(found);
        }
        if self.loader {
            for name in library.file_names() {
                match open(Path::new(name)) {
                    Ok(library) => return Ok(Found { library, place: PathBuf::from(name) }),
                    Err(error) if error.contains("cannot open shared object file") => {}
                    Err(error) => looked.push(error),
                }
            }
            looked.push("the loader's folders".to_owned());
        }
        open_in(&self.last, library, &mut looked).ok_or(Missing { library, looked })
    }
}

fn open_in(folders: &[PathBuf], library: CudaLibrary, looked: &mut Vec<String>) -> Option<Found> {
    for folder in folders {
        for place in library.file_names().iter().map(|name| folder.join(name)) {
            if !place.exists() {
                continue;
            }
            if library == CudaLibrary::Compiler {
                open_builtins(folder);
            }
            match open(&place) {
                Ok(library) => return Some(Found { library, place }),
                Err(error) => looked.push(error),
            }
        }
        looked.push(folder.display().to_string());
    }
    None
}

/// NVRTC asks the loader for its second half by bare name, which finds what is open already.
fn open_builtins(folder: &Path) {
    let Ok(entries) = folder.read_dir() else { return };
    let mut names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    names.sort();
    for path in names {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("libnvrtc-builtins.so")
            && let Err(error) = open(&path)
        {
            tracing::debug!("cannot open {}: {error}", path.display());
        }
    }
}

fn open(path: &Path) -> Result<Library, String> {
    // SAFETY: only files with the names of CUDA's libraries are opened, whose initialisation has no conditions. Each is opened
    // once more, so that it is never unloaded.
    unsafe {
        let library = Library::new(path).map_err(|error| cause(&error))?;
        mem::forget(Library::new(path));
        Ok(library)
    }
}

/// The loader's own words.
fn cause(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests;
