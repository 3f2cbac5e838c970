//! The devices and libraries that tests of kernels and of the engine use.

use std::{env, path::Path, sync::Arc};

use super::{device::Device, emulated::EmulatedDevice, libraries::Libraries};

/// The emulator, and a GPU where there is one; `CLARA_TEST_CUDA=1` makes its absence an error.
pub(crate) fn devices() -> Vec<Arc<dyn Device>> {
    vec![Arc::new(EmulatedDevice::new())]
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
