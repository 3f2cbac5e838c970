//! Holds the kernels against sums on the CPU.

#![expect(clippy::cast_possible_truncation, reason = "sums in f64, compared in f32")]

use std::sync::Arc;

use super::*;
use crate::{
    cuda::{emulated::EmulatedDevice, testing::devices},
    ops::testing::{
        assert_close,
        device::{Matrix, assert_rounded, download_floats, rounded, upload, upload_floats},
        random,
    },
};

/// Whole and ragged blocks of rows and columns.
const SHAPES: [[usize; 2]; 6] = [[1, 8], [3, 256], [128, 24], [129, 264], [200, 520], [64, 1032]];

#[test]
fn outputs_are_scaled_before_bias_and_residual_are_added() {
    for device in devices() {
        for shape @ [rows, width] in SHAPES {
            let [x, before] = [1, 2].map(|seed| rounded(random(seed, rows * width)));
            let (gains, bias) = (random(3, width), rounded(random(4, width)));
            let (x_matrix, on_device) = (Matrix::new(&device, &x, width), upload_floats(&device, &gains));
            let bias_matrix = Matrix::new(&device, &bias, width);
            for (has_bias, has_residual) in [(false, false), (true, false), (false, true), (true, true)] {
                let out = Matrix::new(&device, &before, width);
                let scaled = ScaledColumns {
                    out: out.rows(),
                    plain: x_matrix.rows(),
                    gains: on_device.address(),
                    bias: has_bias.then(|| bias_matrix.rows().address),
                    residual: has_residual.then(|| out.rows()),
                };
                scaled.forward(&*device, shape).unwrap();
                let value = |(index, x): (usize, &f32)| {
                    let bias = if has_bias { bias[index % width] } else { 0.0 };
                    let residual = if has_residual { before[index] } else { 0.0 };
                    x * gains[index % width] + bias + residual
                };
                let expected: Vec<f32> = x.iter().enumerate().map(value).collect();
                assert_rounded(&out.values(), &expected);
            }
        }
    }
}

#[test]
fn gradients_of_magnitudes_are_sums_over_the_rows() {
    let shuffled: Arc<dyn Device> = Arc::new(EmulatedDevice::in_random_order(7));
    for device in devices().into_iter().chain([shuffled]) {
        for shape @ [rows, width] in SHAPES {
            let [d, x] = [1, 2].map(|seed| rounded(random(seed, rows * width)));
            let gains = random(3, width);
            // Every third column has no magnitude.
            let norm = |(index, norm): (usize, &f32)| if index % 3 == 0 { f32::INFINITY } else { norm + 1.5 };
            let norms: Vec<f32> = random(4, width).iter().enumerate().map(norm).collect();
            let before = random(5, width);
            let mut expected = before.clone();
            for (column, (sum, norm)) in expected.iter_mut().zip(&norms).enumerate() {
                let products = (0..rows).map(|row| row * width + column);
                let products = products.map(|at| f64::from(d[at]) * f64::from(x[at]));
                *sum += (products.sum::<f64>() / f64::from(*norm)) as f32;
            }
            let (d_matrix, x_matrix) = (Matrix::new(&device, &d, width), Matrix::new(&device, &x, width));
            let [gains_at, norms_at, sums] =
                [&gains, &norms, &before].map(|values| upload_floats(&device, values));
            let scratch = upload(&device, &vec![0xff; 4 * partial_sums(shape)]);
            let gradient = MagnitudeGradient {
                d_plain: d_matrix.rows(),
                d_out: d_matrix.rows(),
                plain: x_matrix.rows(),
                gains: gains_at.address(),
                norms: norms_at.address(),
                d_magnitudes: sums.address(),
                scratch: scratch.address(),
            };
            gradient.backward(&*device, shape).unwrap();
            let scaled: Vec<f32> = d.iter().enumerate().map(|(index, d)| d * gains[index % width]).collect();
            assert_rounded(&d_matrix.values(), &scaled);
            let got = download_floats(&device, &sums);
            assert_close(&got, &expected, 1e-5);
            let unchanged =
                got.iter().zip(&before).step_by(3).all(|(got, before)| got.to_bits() == before.to_bits());
            assert!(unchanged, "a column without magnitude got a gradient");
        }
    }
}

#[test]
fn lengths_are_those_of_the_sum_of_weight_and_update() {
    for device in devices() {
        for [rows, width, rank] in [[1, 8, 8], [9, 24, 8], [33, 40, 16], [20, 264, 72]] {
            let scale = 0.7;
            let w = rounded(random(1, rows * width));
            let (a, b, m) = (random(2, rank * width), random(3, rows * rank), random(4, rows));
            let a_row = |r: usize| &a[r * width..(r + 1) * width];
            let dot = |x: &[f32], y: &[f32]| -> f64 {
                x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
            };
            let stride = rank + 8;
            let (mut projected, mut inner) = (vec![9.0; rows * stride], vec![9.0; rank * stride]);
            for r in 0..rank {
                for row in 0..rows {
                    projected[row * stride + r] = dot(&w[row * width..(row + 1) * width], a_row(r)) as f32;
                }
                for q in 0..rank {
                    inner[q * stride + r] = dot(a_row(q), a_row(r)) as f32;
                }
            }
            let length = |row: usize| {
                let value = |column: usize| {
                    let update: f64 = (0..rank)
                        .map(|r| f64::from(b[row * rank + r]) * f64::from(a[r * width + column]))
                        .sum();
                    f64::from(w[row * width + column]) + f64::from(scale) * update
                };
                (0..width).map(|column| value(column).powi(2)).sum::<f64>().sqrt() as f32
            };
            let expected: Vec<f32> = (0..rows).map(length).collect();
            let w = Matrix::new(&device, &w, width);
            let [squares, gains, norms] = [(); 3].map(|()| upload_floats(&device, &vec![f32::NAN; rows]));
            let [m_at, b_at, projected, inner] =
                [&m, &b, &projected, &inner].map(|values| upload_floats(&device, values));
            row_squares(&*device, squares.address(), w.rows(), [rows, width]).unwrap();
            let computed = MagnitudeGains {
                gains: gains.address(),
                norms: norms.address(),
                magnitudes: m_at.address(),
                squares: squares.address(),
                b: b_at.address(),
                projected: projected.address(),
                inner: inner.address(),
                stride,
                rank,
                scale,
            };
            computed.compute(&*device, rows).unwrap();
            assert_close(&download_floats(&device, &norms), &expected, 1e-4);
            let expected: Vec<f32> = m.iter().zip(&expected).map(|(m, norm)| m / norm).collect();
            assert_close(&download_floats(&device, &gains), &expected, 1e-4);
        }
    }
}
