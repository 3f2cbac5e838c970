//! The devices and libraries that tests of kernels and of the engine use.

use std::{
    env,
    path::Path,
    sync::{Arc, OnceLock},
};

use super::{
    CudaDevice, CudaOptions, DeviceError,
    device::Device,
    emulated::{EmulatedDevice, library},
    libraries::Libraries,
};

/// The emulator, and a GPU where there is one. With `CLARA_TEST_CUDA=1` the GPU alone, whose absence is an error then.
pub(crate) fn devices() -> Vec<Arc<dyn Device>> {
    let only_gpu = env::var_os("CLARA_TEST_CUDA").is_some_and(|value| value == "1");
    match gpu() {
        Ok(gpu) if only_gpu => vec![gpu],
        Ok(gpu) => vec![Arc::new(EmulatedDevice::new()), gpu],
        Err(DeviceError::Unavailable { .. }) if !only_gpu => vec![Arc::new(EmulatedDevice::new())],
        Err(error) => panic!("{error}"),
    }
}

/// The first GPU, one for all tests of a process.
fn gpu() -> Result<Arc<dyn Device>, DeviceError> {
    static GPU: OnceLock<Result<Arc<CudaDevice>, DeviceError>> = OnceLock::new();
    let gpu = GPU.get_or_init(|| CudaDevice::new(0, &CudaOptions::from_environment()).map(Arc::new));
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
