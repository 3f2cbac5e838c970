//! Holds the kernels against the CPU.

use super::*;
use crate::{
    cuda::testing::devices,
    ops::{
        rms_norm::{rms_norm, rms_norm_backward},
        testing::{
            device::{Matrix, assert_rounded, rounded, upload_floats, upload_numbers},
            random,
        },
    },
};

const EPS: f32 = 1e-5;
/// Every way to share a row among threads, whole and ragged.
const SHAPES: [[usize; 2]; 12] = [
    [1, 8],
    [3, 24],
    [9, 576],
    [17, 640],
    [8, 1024],
    [2, 1032],
    [5, 2048],
    [3, 2056],
    [4, 4096],
    [3, 5120],
    [2, 8192],
    [2, 8328],
];

fn weight(width: usize) -> Vec<f32> {
    random(9, width).iter().map(|value| value + 1.5).collect()
}

/// Some of twice as many rows, in no order.
fn some_rows(rows: usize) -> Vec<u32> {
    (0..u32::try_from(rows).unwrap()).map(|row| row * 2 + row % 2).rev().collect()
}

fn rows_of(values: &[f32], width: usize, index: &[u32]) -> Vec<f32> {
    index.iter().flat_map(|row| values.chunks(width).nth(*row as usize).unwrap()).copied().collect()
}

#[test]
fn rows_are_normalised_as_on_the_cpu() {
    for device in devices() {
        for [rows, width] in SHAPES {
            let (x, weight) = (rounded(random(1, 2 * rows * width)), weight(width));
            let on_device = upload_floats(&device, &weight);
            let norm = Norm { weight: on_device.address(), width, eps: EPS };
            let x_matrix = Matrix::new(&device, &x, width);
            let in_order: Vec<u32> = (0..u32::try_from(rows).unwrap()).collect();
            for index in [None, Some(some_rows(rows))] {
                let taken = rows_of(&x, width, index.as_ref().unwrap_or(&in_order));
                let mut expected = vec![0.0; taken.len()];
                rms_norm(&taken, &weight, EPS, &mut expected).unwrap();
                let out = Matrix::zeros(&device, [rows, width]);
                let index = index.map(|index| upload_numbers(&device, &index));
                let address = index.as_ref().map(crate::cuda::Buffer::address);
                norm.forward(&*device, out.rows(), x_matrix.rows(), address, rows).unwrap();
                assert_rounded(&out.values(), &expected);
            }
        }
    }
}

#[test]
fn a_normalised_row_is_added_in_place() {
    for device in devices() {
        for [rows, width] in SHAPES {
            let (x, residual) = (rounded(random(1, rows * width)), rounded(random(2, rows * width)));
            let weight = weight(width);
            let mut expected = vec![0.0; x.len()];
            rms_norm(&x, &weight, EPS, &mut expected).unwrap();
            expected.iter_mut().zip(&residual).for_each(|(sum, residual)| *sum += residual);
            let on_device = upload_floats(&device, &weight);
            let norm = Norm { weight: on_device.address(), width, eps: EPS };
            let (sum, x) = (Matrix::new(&device, &residual, width), Matrix::new(&device, &x, width));
            norm.add(&*device, sum.rows(), sum.rows(), x.rows(), rows).unwrap();
            assert_rounded(&sum.values(), &expected);
        }
    }
}

#[test]
fn gradients_are_those_of_the_cpu() {
    for device in devices() {
        for [rows, width] in SHAPES {
            let (x, dy) = (rounded(random(1, 2 * rows * width)), rounded(random(2, rows * width)));
            let before = rounded(random(3, 2 * rows * width));
            let (weight, index) = (weight(width), some_rows(rows));
            let on_device = upload_floats(&device, &weight);
            let norm = Norm { weight: on_device.address(), width, eps: EPS };
            let (x_matrix, dy_matrix) = (Matrix::new(&device, &x, width), Matrix::new(&device, &dy, width));
            let index_on_device = upload_numbers(&device, &index);
            for accumulate in [false, true] {
                let mut expected = before.clone();
                for (row, dy) in index.iter().zip(dy.chunks(width)) {
                    let range = *row as usize * width..(*row as usize + 1) * width;
                    let dx = &mut expected[range.clone()];
                    if !accumulate {
                        dx.fill(0.0);
                    }
                    rms_norm_backward(&x[range], &weight, EPS, dy, dx).unwrap();
                }
                let dx = Matrix::new(&device, &before, width);
                let operands = NormBackward {
                    dx: dx.rows(),
                    x: x_matrix.rows(),
                    dy: dy_matrix.rows(),
                    index: Some(index_on_device.address()),
                    accumulate,
                };
                norm.backward(&*device, operands, rows).unwrap();
                assert_rounded(&dx.values(), &expected);
            }
            let mut expected = vec![0.0; dy.len()];
            rms_norm_backward(&x[..dy.len()], &weight, EPS, &dy, &mut expected).unwrap();
            let (dx, dy) = (dy_matrix.rows(), dy_matrix.rows());
            let operands = NormBackward { dx, x: x_matrix.rows(), dy, index: None, accumulate: false };
            norm.backward(&*device, operands, rows).unwrap();
            assert_rounded(&dy_matrix.values(), &expected);
        }
    }
}
