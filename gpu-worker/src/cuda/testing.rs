//! The devices and libraries that tests of kernels and of the engine use.

use std::{
    env,
    path::Path,
    sync::{Arc, OnceLock},
};

use super::{
    DeviceError,
    compiler::default_cache,
    device::Device,
    driver::{CudaDevice, CudaOptions},
    emulated::{EmulatedDevice, library},
    libraries::Libraries,
};

/// The emulator, and a GPU where there is one; `CLARA_TEST_CUDA=1` makes its absence an error.
pub(crate) fn devices() -> Vec<Arc<dyn Device>> {
    let emulated: Arc<dyn Device> = Arc::new(EmulatedDevice::new());
    [Some(emulated), gpu()].into_iter().flatten().collect()
}

/// The first GPU, one for all tests of a process.
fn gpu() -> Option<Arc<dyn Device>> {
    static GPU: OnceLock<Option<Arc<CudaDevice>>> = OnceLock::new();
    let gpu = GPU.get_or_init(|| {
        let options = CudaOptions {
            libraries: Libraries::from_environment(),
            kernel_cache: default_cache(),
            autotune: false,
        };
        let wanted = env::var_os("CLARA_TEST_CUDA").is_some_and(|value| value == "1");
        match CudaDevice::new(0, &options) {
            Ok(device) => Some(Arc::new(device)),
            Err(DeviceError::Unavailable { .. }) if !wanted => None,
            Err(error) => panic!("{error}"),
        }
    });
    gpu.clone().map(|gpu| gpu as Arc<dyn Device>)
}

/// Our driver's own code on a driver and a library of products that are emulated, down to the ends of recordings and copies. A
/// process that opens it cannot open a GPU.
pub(crate) fn emulated_gpu(autotune: bool) -> CudaDevice {
    let folder = library::driver_folder();
    let kernel_cache = Some(folder.join("kernels"));
    let mut libraries = libraries();
    libraries.first.insert(0, folder);
    CudaDevice::new(0, &CudaOptions { libraries, kernel_cache, autotune }).unwrap()
}

/// Where NVRTC is: in the folder of `CLARA_TEST_NVRTC`, or where `scripts/nvrtc.sh` puts it.
pub(crate) fn libraries() -> Libraries {
    let folder = env::var_os("CLARA_TEST_NVRTC").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".nvrtc"),
        |folder| Path::new(&folder).to_path_buf(),
    );
    let library = folder.join("libnvrtc.so.13");
    assert!(library.exists(), "{} is missing; run scripts/nvrtc.sh", library.display());
    Libraries { first: vec![folder], ..Libraries::default() }
}
