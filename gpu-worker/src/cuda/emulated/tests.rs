//! Tests of the emulated device.

use std::sync::Arc;

use half::bf16;

use super::*;
use crate::cuda::{device::Buffer, testing::devices};

#[test]
fn memory_is_checked_at_its_borders() {
    let device = EmulatedDevice::new();
    let address = device.allocate(100).unwrap();
    assert_eq!(address.0 % 256, 0);
    device.write(address.at(90), &[1; 10]).unwrap();
    assert!(matches!(device.write(address.at(91), &[1; 10]), Err(DeviceError::Failed { .. })));
    let mut bytes = [0; 100];
    device.read(address, &mut bytes).unwrap();
    assert_eq!((bytes[89], bytes[90]), (UNWRITTEN, 1));
    device.zero(address, 100).unwrap();
    device.read(address, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 100]);
    assert!(device.zero(address, 101).is_err());
    device.release(address);
    assert!(device.read(address, &mut bytes).is_err());
}

#[test]
fn too_much_memory_is_refused_with_what_is_free() {
    let device: Arc<dyn Device> = Arc::new(EmulatedDevice::new());
    let held = Buffer::new(&device, 1000).unwrap();
    let refused = Buffer::new(&device, usize::try_from(TOTAL_BYTES).unwrap()).unwrap_err();
    assert_eq!(refused, DeviceError::OutOfMemory { bytes: TOTAL_BYTES, free: TOTAL_BYTES - 1000 });
    drop(held);
    assert_eq!(device.memory().unwrap().free, TOTAL_BYTES);
}

#[test]
fn an_unknown_kernel_is_named() {
    let launch = Launch { kernel: "absent", grid: [1; 3], threads: 32, shared_bytes: 0, arguments: &[] };
    for device in [EmulatedDevice::new(), EmulatedDevice::in_random_order(7)] {
        let error = device.launch(launch).unwrap_err();
        assert!(matches!(error, DeviceError::Kernel { kernel, .. } if kernel == "absent"));
    }
}

#[test]
fn every_test_device_works() {
    for device in devices() {
        let buffer = Buffer::new(&device, 4).unwrap();
        device.zero(buffer.address(), 4).unwrap();
        let mut bytes = [1; 4];
        device.read(buffer.address(), &mut bytes).unwrap();
        assert_eq!(bytes, [0; 4], "{}", device.name());
    }
}

#[test]
fn a_product_takes_transposed_and_strided_operands() {
    let device: Arc<dyn Device> = Arc::new(EmulatedDevice::new());
    let upload = |values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
        let buffer = Buffer::new(&device, bytes.len()).unwrap();
        device.write(buffer.address(), &bytes).unwrap();
        buffer
    };
    // a = [[1, 2], [3, 4]], stored transposed with a stride of 3; b = [[5, 6, 7], [8, 9, 10]].
    let (a, b) = (upload(&[1.0, 3.0, 0.0, 2.0, 4.0]), upload(&[5.0, 6.0, 7.0, 8.0, 9.0, 10.0]));
    let (c, bias) = (upload(&[100.0; 6]), upload(&[1.0, 2.0, 3.0]));
    let d = Buffer::new(&device, 12).unwrap();
    let operand = |address, stride, transposed| Operand { address, stride, transposed };
    let gemm = Gemm {
        m: 2,
        n: 3,
        k: 2,
        alpha: 2.0,
        a: operand(a.address(), 3, true),
        b: operand(b.address(), 3, false),
        c: Some(operand(c.address(), 3, false)),
        d: operand(d.address(), 3, false),
        result: Element::Bf16,
        bias: Some(bias.address()),
    };
    device.multiply(&gemm).unwrap();
    let mut bytes = [0; 12];
    device.read(d.address(), &mut bytes).unwrap();
    let values: Vec<f32> =
        bytes.chunks_exact(2).map(|pair| bf16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect();
    assert_eq!(values, [143.0, 150.0, 157.0, 195.0, 210.0, 225.0]);
    assert!(device.multiply(&Gemm { n: 4, ..gemm }).is_err(), "wider than its stride");
    assert!(device.multiply(&Gemm { m: 3, ..gemm }).is_err(), "longer than its memory");
}
