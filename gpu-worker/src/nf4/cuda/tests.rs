//! Holds the kernel against the CPU, bit for bit.

use super::*;
use crate::{
    cuda::testing::devices,
    nf4::{Nf4Tensor, Scales},
    ops::testing::{
        device::{Matrix, rounded, upload, upload_floats},
        random,
    },
};

#[test]
fn weights_are_those_of_the_cpu() {
    for device in devices() {
        for ([rows, columns], block) in [
            ([1, 8], 2),
            ([3, 8], 4),
            ([1, 8], 64),
            ([3, 24], 64),
            ([5, 72], 16),
            ([64, 576], 64),
            ([9, 1000], 32),
            ([3, 8000], 4096),
        ] {
            let count = rows * columns;
            let codes: Vec<u8> =
                random(1, count / 2).iter().map(|value| value.to_bits().to_le_bytes()[2]).collect();
            let scales: Vec<f32> = random(2, count.div_ceil(block)).iter().map(|value| value.abs()).collect();
            let on_device = (upload(&device, &codes), upload_floats(&device, &scales));
            let weight = PackedWeight {
                codes: on_device.0.address(),
                scales: on_device.1.address(),
                block,
                shape: [rows, columns],
            };
            let tensor = Nf4Tensor { rows, columns, block, packed: codes, scales: Scales::Plain(scales) };
            let mut expected = vec![0.0; count];
            tensor.dequantise(&mut expected);
            let out = Matrix::zeros(&device, [rows, columns]);
            dequantise(&*device, out.rows(), weight).unwrap();
            assert_eq!(out.values(), rounded(expected));
        }
    }
}
