//! Holds the kernel against the CPU.

use half::bf16;

use super::*;
use crate::{
    cuda::testing::devices,
    ops::{
        embedding as cpu,
        testing::{
            device::{Matrix, rounded, upload, upload_numbers},
            random,
        },
    },
};

#[test]
fn rows_of_tokens_are_looked_up_and_scaled() {
    for device in devices() {
        for [rows, width] in [[1, 8], [5, 24], [33, 576], [3, 4096]] {
            let table = rounded(random(1, 11 * width));
            let tokens: Vec<u32> = (0..u32::try_from(rows).unwrap()).map(|row| row * 7 % 11).collect();
            let mut expected = vec![0.0; rows * width];
            cpu::embed(&table, width, &tokens, &mut expected).unwrap();
            let expected = rounded(expected.iter().map(|value| value * 1.5));
            let bytes: Vec<u8> =
                table.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
            let (table, tokens) = (upload(&device, &bytes), upload_numbers(&device, &tokens));
            let out = Matrix::zeros(&device, [rows, width]);
            embed(&*device, out.rows(), table.address(), tokens.address(), [rows, width], 1.5).unwrap();
            assert_eq!(out.values(), expected);
        }
    }
}
