//! Tests on an emulated NVML.

use super::*;
use crate::cuda::emulated::library::telemetry_folder;

#[test]
fn a_machine_without_nvml_has_no_telemetry() {
    let folder = tempfile::tempdir().unwrap();
    let libraries = Libraries { first: vec![folder.path().to_path_buf()], ..Libraries::default() };
    assert!(Telemetry::open(&libraries, "0000:00:00.0").is_none());
}

#[test]
fn a_reading_has_base_units_and_leaves_out_what_the_gpu_does_not_tell() {
    let libraries = Libraries { first: vec![telemetry_folder()], ..Libraries::default() };
    assert!(Telemetry::open(&libraries, "0000:99:00.0").is_none(), "an unknown GPU");
    let telemetry = Telemetry::open(&libraries, "0000:00:00.0").unwrap();
    let reading = Reading {
        utilisation: Some(0.42),
        memory_used_bytes: Some(3 << 30),
        memory_total_bytes: Some(80 << 30),
        temperature_celsius: Some(61),
        power_watts: Some(512.5),
        uncorrected_errors: None,
    };
    assert_eq!(telemetry.read(), reading);
}
