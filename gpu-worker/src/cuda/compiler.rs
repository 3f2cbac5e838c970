//! Compiles kernels for a GPU's architecture, and keeps what it compiled.

mod nvrtc;

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use clara_lifecycle::digest::Digest;
use rayon::prelude::*;

use super::{
    DeviceError,
    kernels::Source,
    libraries::{CudaLibrary, Libraries},
};

/// The oldest architecture that multiplies bf16 on tensor cores.
pub const OLDEST: Architecture = Architecture { major: 8, minor: 0 };

/// The architecture whose own instructions some kernels are written for.
pub const HOPPER: Architecture = Architecture { major: 9, minor: 0 };

const OPTIONS: [&str; 1] = ["--std=c++17"];

/// What a GPU understands: its compute capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Architecture {
    /// Code for one does not run on another.
    pub major: u32,
    /// Code for a lower one runs on a higher one.
    pub minor: u32,
}

impl Architecture {
    /// What NVRTC calls it, with all its instructions where kernels use those that later architectures lack.
    fn target(self) -> String {
        let own = if self == HOPPER { "a" } else { "" };
        format!("{self}{own}")
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sm_{}{}", self.major, self.minor)
    }
}

/// Compiles files of kernels.
#[derive(Debug)]
pub struct Compiler {
    version: (i32, i32),
    architecture: Architecture,
    cache: Option<PathBuf>,
}

impl Compiler {
    /// Opens the compiler. `cache` is the folder where compiled kernels are kept; none are without one.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] when NVRTC is missing or does not know the architecture.
    pub fn new(
        libraries: &Libraries,
        device: Architecture,
        cache: Option<PathBuf>,
    ) -> Result<Self, DeviceError> {
        if device < OLDEST {
            let reason = format!("its architecture {device} is too old, expected {OLDEST} or newer (Ampere)");
            return Err(DeviceError::Unavailable { reason });
        }
        libraries.open(CudaLibrary::Compiler)?;
        let (version, known) = nvrtc::version()?;
        let architecture = best(device, &known).ok_or_else(|| DeviceError::Unavailable {
            reason: format!(
                "NVRTC {}.{} does not compile for {device}; install a newer one",
                version.0, version.1
            ),
        })?;
        Ok(Self { version, architecture, cache })
    }

    /// The compiler's version.
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// The kernels of a file, as the driver loads them.
    ///
    /// # Errors
    /// [`DeviceError::Kernel`] with the compiler's words.
    pub fn compile(&self, source: &Source) -> Result<Vec<u8>, DeviceError> {
        let program = source.program();
        let entry = self.cache.as_ref().map(|folder| folder.join(self.entry_name(&program)));
        if let Some(cubin) = entry.as_deref().and_then(read_entry) {
            return Ok(cubin);
        }
        let architecture = format!("--gpu-architecture={}", self.architecture.target());
        let options: Vec<&str> = OPTIONS.into_iter().chain([architecture.as_str()]).collect();
        let cubin = nvrtc::compile(source.name, &program, &options)?;
        if let Some(entry) = entry
            && let Err(error) = write_entry(&entry, &cubin)
        {
            let path = entry.display();
            tracing::warn!(
                "cannot keep compiled kernels as {path}, so they are compiled at every start: {error}"
            );
        }
        Ok(cubin)
    }

    /// The kernels of several files, in their order, compiled at once on as many threads as there are.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn compile_all(&self, sources: &[Source]) -> Result<Vec<Vec<u8>>, DeviceError> {
        sources.par_iter().map(|source| self.compile(source)).collect()
    }

    /// Everything that the result depends on.
    fn entry_name(&self, program: &str) -> String {
        let version = format!("{}.{}", self.version.0, self.version.1);
        let architecture = self.architecture.target();
        let options = OPTIONS.join(" ");
        let digest = Digest::of_parts([
            ("program", program.as_bytes()),
            ("architecture", architecture.as_bytes()),
            ("options", options.as_bytes()),
            ("compiler", version.as_bytes()),
        ]);
        format!("{digest}.cubin")
    }
}

/// `$XDG_CACHE_HOME/clara/kernels`, or `~/.cache/clara/kernels`; none without a home.
pub fn default_cache() -> Option<PathBuf> {
    let given = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = given("XDG_CACHE_HOME").or_else(|| given("HOME").map(|home| home.join(".cache")));
    caches.map(|caches| caches.join("clara").join("kernels"))
}

/// The newest architecture whose code the device runs.
fn best(device: Architecture, known: &[Architecture]) -> Option<Architecture> {
    let runs = |known: &&Architecture| known.major == device.major && known.minor <= device.minor;
    known.iter().filter(runs).max().copied()
}

/// A kept result, unless it is damaged: its digest stands before it.
pub(super) fn read_entry(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    let (digest, cubin) = bytes.split_at_checked(Digest::of(b"").as_str().len())?;
    if Digest::of(cubin).as_str().as_bytes() == digest {
        return Some(cubin.to_vec());
    }
    tracing::warn!("{} is damaged and made again", path.display());
    None
}

/// A result with its digest before it.
pub(super) fn entry_bytes(result: &[u8]) -> Vec<u8> {
    let mut bytes = Digest::of(result).as_str().as_bytes().to_vec();
    bytes.extend_from_slice(result);
    bytes
}

fn write_entry(path: &Path, cubin: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let unfinished = path.with_extension(format!("{}-{count}.unfinished", process::id()));
    let written = fs::write(&unfinished, entry_bytes(cubin)).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // What remains is of no use to anyone, and the first error says more.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

#[cfg(test)]
mod tests;
