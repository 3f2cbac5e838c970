//! Tests on an emulated driver.

use std::sync::Arc;

use half::bf16;

use super::*;
use crate::cuda::{Buffer, Element, Operand, arguments, emulated::EmulatedDevice, testing::emulated_gpu};

fn opened(autotune: bool) -> Arc<dyn Device> {
    Arc::new(emulated_gpu(autotune))
}

fn upload(device: &Arc<dyn Device>, values: &[f32], element: Element) -> Buffer {
    let bytes: Vec<u8> = match element {
        Element::Bf16 => values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect(),
        Element::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let buffer = Buffer::new(device, bytes.len()).unwrap();
    device.write(buffer.address(), &bytes).unwrap();
    buffer
}

fn bytes(device: &Arc<dyn Device>, buffer: &Buffer) -> Vec<u8> {
    let mut bytes = vec![0; buffer.bytes()];
    device.read(buffer.address(), &mut bytes).unwrap();
    bytes
}

fn values(device: &Arc<dyn Device>, buffer: &Buffer) -> Vec<f32> {
    bytes(device, buffer).as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()
}

fn add_rows(device: &dyn Device, to: &Buffer, from: &Buffer, rows: usize) -> Result<(), DeviceError> {
    let arguments = arguments![to.address(), 8, from.address(), 8, rows, 8];
    device.launch(Launch { kernel: "add_rows", grid: [1; 3], threads: 256, shared_bytes: 0, arguments })
}

#[test]
fn bytes_arrive_in_order_through_pinned_memory_that_is_used_again() {
    let device = opened(false);
    // The emulated driver copies as late as it may, so a piece that was overwritten too early arrives wrong.
    let sent: Vec<u8> =
        (0..50_000_017_u32).map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let buffer = Buffer::new(&device, sent.len()).unwrap();
    device.write(buffer.address(), &sent).unwrap();
    assert!(bytes(&device, &buffer) == sent, "one write");
    device.zero(buffer.address(), sent.len()).unwrap();
    let mut at = buffer.address();
    for piece in sent.chunks(1_234_567) {
        device.write(at, piece).unwrap();
        at = at.at(piece.len());
    }
    assert!(bytes(&device, &buffer) == sent, "many writes");
    device.write(buffer.address(), &[]).unwrap();
    device.zero(buffer.address(), 0).unwrap();
}

#[test]
fn missing_memory_is_told_with_what_is_free() {
    let device = opened(false);
    let total = device.memory().unwrap().total;
    let error = Buffer::new(&device, usize::try_from(total).unwrap()).unwrap_err();
    assert!(matches!(error, DeviceError::OutOfMemory { bytes, free } if bytes == total && free < total));
}

#[test]
fn kernels_run_in_order_with_what_they_are_given() {
    let device = opened(false);
    let sum = upload(&device, &[1.0; 64], Element::Bf16);
    let more = upload(&device, &[2.0; 64], Element::Bf16);
    add_rows(device.as_ref(), &sum, &more, 8).unwrap();
    device.write(more.address(), &[0; 128]).unwrap();
    add_rows(device.as_ref(), &sum, &more, 8).unwrap();
    assert_eq!(values(&device, &sum), [3.0; 64]);
}

#[test]
fn a_launch_that_does_not_fit_its_kernel_is_refused() {
    let device = opened(false);
    let plain = Launch { kernel: "absent", grid: [1; 3], threads: 32, shared_bytes: 0, arguments: &[] };
    let error = device.launch(plain).unwrap_err().to_string();
    assert_eq!(error, "cannot prepare kernel absent: no file of kernels has it");
    let error = device.launch(Launch { kernel: "copy_rows", ..plain }).unwrap_err().to_string();
    assert!(error.contains("parameters have [8, 4, 8, 4, 4, 4] bytes, its arguments []"), "{error}");
    let arguments = arguments![Address::NULL, 8, Address::NULL, 8, 0, 8];
    let copy = Launch { kernel: "copy_rows", arguments, ..plain };
    device.launch(Launch { shared_bytes: 100 << 10, ..copy }).unwrap();
    let error = device.launch(Launch { shared_bytes: 300 << 10, ..copy }).unwrap_err();
    assert!(matches!(error, DeviceError::Failed { call, .. } if call == "copy_rows"));
    device.finish().unwrap();
}

#[test]
fn recorded_work_runs_when_it_is_replayed_and_not_before() {
    let device = opened(true);
    let sum = upload(&device, &[1.0; 64], Element::Bf16);
    let more = upload(&device, &[2.0; 64], Element::Bf16);
    let graph = device.record(&mut || add_rows(device.as_ref(), &sum, &more, 8)).unwrap().unwrap();
    assert_eq!(values(&device, &sum), [1.0; 64]);
    device.replay(graph).unwrap();
    device.replay(graph).unwrap();
    assert_eq!(values(&device, &sum), [5.0; 64]);
    device.discard(graph);
    assert!(device.replay(graph).is_err());
}

#[test]
fn what_cannot_be_recorded_is_refused_and_the_device_works_on() {
    let device = opened(false);
    let buffer = upload(&device, &[1.0; 64], Element::Bf16);
    let refusals: [&mut dyn FnMut() -> Result<(), DeviceError>; 5] = [
        &mut || device.write(buffer.address(), &[0; 8]),
        &mut || device.read(buffer.address(), &mut [0; 8]),
        &mut || device.finish(),
        &mut || device.allocate(8).map(|_| ()),
        &mut || device.record(&mut || Ok(())).map(|_| ()),
    ];
    for work in refusals {
        let error = device.record(work).unwrap_err().to_string();
        assert!(error.contains("it cannot be part of a recording"), "{error}");
    }
    assert_eq!(values(&device, &buffer), [1.0; 64]);
}

#[test]
fn threads_share_a_device() {
    let device = opened(false);
    std::thread::scope(|scope| {
        for number in 0..4_u8 {
            let device = &device;
            scope.spawn(move || {
                for _ in 0..20 {
                    let buffer = Buffer::new(device, 1000).unwrap();
                    device.write(buffer.address(), &[number; 1000]).unwrap();
                    assert_eq!(bytes(device, &buffer), [number; 1000]);
                }
            });
        }
    });
}

/// Every combination of what a product may have, with the same operands on both devices.
#[test]
fn products_are_those_of_the_emulator() {
    let emulator: Arc<dyn Device> = Arc::new(EmulatedDevice::new());
    for autotune in [false, true] {
        let device = opened(autotune);
        for kind in 0..2_u32.pow(6) {
            let on = |bit: u32| kind >> bit & 1 == 1;
            let [wanted, found] = [&emulator, &device].map(|device| product(device, &on));
            assert_eq!(wanted, found, "kind {kind:06b}, tuning {autotune}");
        }
    }
}

#[expect(clippy::many_single_char_names, reason = "as in the product's own description")]
fn product(device: &Arc<dyn Device>, on: &dyn Fn(u32) -> bool) -> Vec<u8> {
    let (m, n, k) = (5, 7, 11);
    let (a_transposed, b_transposed, in_place) = (on(0), on(1), on(3));
    let result = if on(4) { Element::F32 } else { Element::Bf16 };
    let stride = 24;
    let operand = |buffer: &Buffer, element: Element, transposed| Operand {
        address: buffer.address().at(16 * element.bytes()),
        stride,
        transposed,
    };
    // Small whole numbers, whose sums are exact in any order.
    let filled = |factor: u8, element| {
        let values: Vec<f32> = (0_u8..250)
            .cycle()
            .take(16 + 24 * stride)
            .map(|i| f32::from(i.wrapping_mul(factor) % 7) - 3.0)
            .collect();
        upload(device, &values, element)
    };
    let (a, b) = (filled(3, Element::Bf16), filled(5, Element::Bf16));
    let (c, d, bias) = (filled(2, result), filled(4, result), filled(6, Element::Bf16));
    let to = operand(&d, result, false);
    let added = if in_place { to } else { operand(&c, result, false) };
    let gemm = Gemm {
        m,
        n,
        k,
        alpha: if on(5) { 0.5 } else { 1.0 },
        a: operand(&a, Element::Bf16, a_transposed),
        b: operand(&b, Element::Bf16, b_transposed),
        c: on(2).then_some(added),
        d: to,
        result,
        bias: (on(5) && result == Element::Bf16).then(|| bias.address()),
    };
    device.multiply(&gemm).unwrap();
    device.multiply(&gemm).unwrap();
    bytes(device, &d)
}

#[test]
fn a_shape_is_planned_once_and_counted() {
    let gpu = Arc::new(emulated_gpu(true));
    let device: Arc<dyn Device> = Arc::clone(&gpu) as Arc<dyn Device>;
    let on = |bit: u32| bit == 1;
    product(&device, &on);
    product(&device, &on);
    let uses = gpu.products();
    assert_eq!(uses.len(), 1);
    assert_eq!(uses[0].product, "[5, 11] · [11, 7]ᵀ in Bf16");
    assert_eq!((uses[0].calls, uses[0].candidates), (4, 3));
    assert!(!uses[0].algorithm.starts_with("algorithm 1,"), "the refused one: {}", uses[0].algorithm);
}

#[test]
fn a_lost_device_says_so_in_every_call() {
    let device = opened(false);
    let buffer = upload(&device, &[1.0; 8], Element::Bf16);
    // The kernel reads where nothing is, which the emulated driver learns from a rule that the launch breaks.
    let arguments = arguments![buffer.address(), 8, buffer.address(), 8, 1, 8];
    let broken = Launch { kernel: "copy_rows", grid: [1; 3], threads: 33, shared_bytes: 0, arguments };
    device.launch(broken).unwrap();
    for error in [device.finish().unwrap_err(), device.read(buffer.address(), &mut [0; 8]).unwrap_err()] {
        assert!(matches!(error, DeviceError::Lost { .. }), "{error}");
        assert!(error.to_string().contains("restart the worker"));
    }
}
