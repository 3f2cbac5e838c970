//! Tests on libraries that are there, missing, or without a GPU.

use super::*;
use crate::cuda::emulated::library::{driver_folder, set_devices};

fn only(folder: PathBuf) -> Libraries {
    Libraries { first: vec![folder], ..Libraries::default() }
}

#[test]
fn a_machine_without_a_driver_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let found = availability(&only(folder.path().to_path_buf()));
    assert_eq!(found.libraries.len(), CudaLibrary::ALL.len());
    assert_eq!((found.driver, found.has_gpu(), found.to_string().as_str()), (None, false, ""));
    let problem = found.problem().unwrap();
    assert!(problem.starts_with("libcuda.so.1 (CUDA driver) is missing: looked in "), "{problem}");
    assert!(problem.contains("install the driver of the GPU"), "{problem}");
}

#[test]
fn a_gpu_without_a_compiler_says_that() {
    let found = availability(&only(driver_folder()));
    assert_eq!(found.to_string(), "Emulated GPU (sm_90, 4 GiB), driver for CUDA 13.0");
    assert!(found.has_gpu());
    let problem = found.problem().unwrap();
    assert!(problem.starts_with("libnvrtc.so.13 (NVRTC) is missing"), "{problem}");
}

#[test]
fn a_driver_without_a_gpu_gives_its_own_words() {
    let folder = driver_folder();
    set_devices(&folder, 0);
    let found = availability(&only(folder.clone()));
    set_devices(&folder, 1);
    assert_eq!(found.to_string(), "driver for CUDA 13.0");
    let problem = found.problem().unwrap();
    assert_eq!(problem, "cuInit says: no CUDA-capable device is detected (error 100)");
}
