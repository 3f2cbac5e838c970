//! The devices and libraries that tests of kernels and of the engine use.

use std::{env, path::Path, sync::Arc};

use super::{CudaDevice, CudaOptions, device::Device, emulated::EmulatedDevice, libraries::Libraries};

/// The emulator, and a GPU where there is one. With `CLARA_TEST_CUDA=1` the GPU alone, whose absence is an error then.
pub(crate) fn devices() -> Vec<Arc<dyn Device>> {
    let gpu = CudaDevice::new(0, &CudaOptions::from_environment());
    if env::var_os("CLARA_TEST_CUDA").is_some_and(|value| value == "1") {
        return vec![Arc::new(gpu.unwrap())];
    }
    let emulator: Arc<dyn Device> = Arc::new(EmulatedDevice::new());
    let gpu = gpu.ok().map(|device| Arc::new(device) as Arc<dyn Device>);
    [Some(emulator), gpu].into_iter().flatten().collect()
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
