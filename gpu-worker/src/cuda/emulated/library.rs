//! Compiles and opens the emulator, a C++ library.

use std::{
    env,
    ffi::{OsString, c_char, c_int, c_uint, c_void},
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::OnceLock,
};

use clara_lifecycle::digest::Digest;
use libloading::Library;

pub(super) type LaunchFunction =
    unsafe extern "C" fn(*const c_char, c_uint, c_uint, c_uint, c_uint, c_uint, *mut *mut c_void) -> c_int;
pub(super) type SignatureFunction = unsafe extern "C" fn(*const c_char) -> *const c_char;
pub(super) type ScheduleFunction = unsafe extern "C" fn(c_uint);
pub(super) type MultiplyFunction = unsafe extern "C" fn(
    usize,
    usize,
    usize,
    f32,
    *const c_void,
    usize,
    c_int,
    *const c_void,
    usize,
    c_int,
    *const c_void,
    usize,
    c_int,
    *mut c_void,
    usize,
    c_int,
    *const c_void,
);

/// The emulator's functions; the library stays loaded.
#[derive(Debug)]
pub(super) struct Emulator {
    pub(super) launch: LaunchFunction,
    pub(super) signature: SignatureFunction,
    pub(super) schedule: ScheduleFunction,
    pub(super) multiply: MultiplyFunction,
}

/// The emulator of this process.
pub(super) fn emulator() -> &'static Emulator {
    static EMULATOR: OnceLock<Emulator> = OnceLock::new();
    EMULATOR.get_or_init(|| load(&library_path()))
}

fn load(path: &Path) -> Emulator {
    // SAFETY: the library is the emulator, whose initialisation registers kernels; its functions have these types (emulator.h).
    unsafe {
        let library =
            Library::new(path).unwrap_or_else(|error| panic!("cannot load {}: {error}", path.display()));
        let emulator = Emulator {
            launch: *library.get(b"clara_launch").unwrap(),
            signature: *library.get(b"clara_signature").unwrap(),
            schedule: *library.get(b"clara_schedule").unwrap(),
            multiply: *library.get(b"clara_multiply").unwrap(),
        };
        std::mem::forget(library);
        emulator
    }
}

/// Compiles the emulator beside the tests, once for each state of its sources.
fn library_path() -> PathBuf {
    compiled("kernels", |folder| compile("emulator.cpp", folder, "libemulator.so", &[]))
        .join("libemulator.so")
}

/// A folder with a driver and a library of products for tests, which run kernels by the emulator.
pub(crate) fn driver_folder() -> PathBuf {
    compiled("driver", |folder| {
        // Programs look for these names before all others, and find what is open already.
        compile("driver.cpp", folder, "libcuda.so.1", &["-Wl,-soname,libcuda.so".into()]);
        let driver = folder.join("libcuda.so.1").into_os_string();
        let soname = "-Wl,-soname,libcublasLt.so".into();
        compile("products.cpp", folder, "libcublasLt.so.13", &[soname, driver]);
    })
}

/// A folder with an NVML for tests.
pub(crate) fn telemetry_folder() -> PathBuf {
    compiled("telemetry", |folder| compile("telemetry.cpp", folder, "libnvidia-ml.so.1", &[]))
}

/// How many GPUs the driver for tests shows from now on, in this process.
pub(crate) fn set_devices(driver_folder: &Path, count: c_int) {
    // SAFETY: the library is our own driver.cpp, and its function has this type.
    unsafe {
        let library = Library::new(driver_folder.join("libcuda.so.1")).unwrap();
        library.get::<unsafe extern "C" fn(c_int)>(b"clara_devices").unwrap()(count);
    }
}

/// A folder beside the tests that `fill` filled for the present state of the sources.
fn compiled(name: &str, fill: fn(&Path)) -> PathBuf {
    let all = env::current_exe().unwrap().with_file_name("cuda-emulator");
    fs::create_dir_all(&all).unwrap();
    let digest = digest(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let folder = all.join(format!("{name}-{}", digest.short()));
    // Every test of nextest is a process: one compiles, the others wait.
    let lock = fs::File::create(all.join("lock")).unwrap();
    lock.lock().unwrap();
    if !folder.exists() {
        let unfinished = all.join(format!("{}.unfinished", process::id()));
        fs::create_dir_all(&unfinished).unwrap();
        fill(&unfinished);
        fs::rename(&unfinished, &folder).unwrap();
    }
    folder
}

fn compile(program: &str, folder: &Path, library: &str, more: &[OsString]) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda/emulator");
    let output = Command::new("c++")
        .args(["-std=c++17", "-O2", "-shared", "-fPIC", "-o"])
        .args([folder.join(library), sources.join(program)])
        .args(more)
        .output()
        .unwrap_or_else(|error| {
            panic!("cannot run c++, which tests of CUDA kernels need: {error}; run scripts/setup.sh")
        });
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} does not compile:\n{messages}");
}

fn digest(sources: &Path) -> Digest {
    let mut files = Vec::new();
    add_texts(sources, &mut files);
    files.sort();
    Digest::of_parts(files.iter().map(|(name, text)| (name.as_str(), text.as_slice())))
}

/// Finds every file that the emulator may include.
fn add_texts(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_dir() {
            add_texts(&path, found);
        } else if matches!(ending, Some("cu" | "cuh" | "h" | "cpp")) {
            found.push((path.to_string_lossy().into_owned(), fs::read(&path).unwrap()));
        }
    }
}
