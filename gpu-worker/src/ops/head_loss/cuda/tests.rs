//! Holds the kernels against the CPU.

use super::*;
use crate::{
    cuda::testing::devices,
    ops::{
        head_loss as cpu,
        testing::{
            device::{Matrix, assert_rounded, download_floats, rounded, upload_floats, upload_numbers},
            random,
        },
    },
};

const SCALE: f32 = 0.37;

#[test]
fn losses_and_gradients_are_those_of_the_cpu() {
    for device in devices() {
        for [rows, vocab] in [[1, 1], [2, 7], [3, 8], [2, 65], [5, 1003], [1, 4096], [2, 13_001], [1, 49_152]]
        {
            let logits = rounded(random(1, rows * vocab).iter().map(|value| value * 12.0 + 5.0));
            let labels: Vec<u32> =
                (0..rows).map(|row| u32::try_from((row * 31 + vocab - 1) % vocab).unwrap()).collect();
            let mut expected_losses = vec![0.0; rows];
            cpu::cross_entropy(&logits, &labels, &mut expected_losses).unwrap();
            let mut expected = logits.clone();
            cpu::cross_entropy_gradient(&mut expected, &labels, SCALE, None, &mut vec![0.0; rows]).unwrap();
            let matrix = Matrix::new(&device, &logits, vocab);
            let labels = upload_numbers(&device, &labels);
            for gradient_scale in [None, Some(SCALE)] {
                assert_eq!(matrix.values(), logits);
                let losses = upload_floats(&device, &vec![f32::NAN; rows]);
                let (at, into) = (labels.address(), losses.address());
                cross_entropy(&*device, matrix.rows(), at, into, [rows, vocab], gradient_scale).unwrap();
                for (got, expected) in download_floats(&device, &losses).iter().zip(&expected_losses) {
                    assert!((f64::from(*got) - expected).abs() < 1e-5, "got {got}, expected {expected}");
                }
            }
            assert_rounded(&matrix.values(), &expected);
        }
    }
}

#[test]
fn a_diverged_row_has_no_loss() {
    for device in devices() {
        let matrix = Matrix::new(&device, &[1.0, f32::NAN, 2.0, 3.0, 1.0, 2.0], 3);
        let (labels, losses) = (upload_numbers(&device, &[0, 0]), upload_floats(&device, &[0.0; 2]));
        cross_entropy(&*device, matrix.rows(), labels.address(), losses.address(), [2, 3], None).unwrap();
        let losses = download_floats(&device, &losses);
        assert!(losses[0].is_nan() && losses[1].is_finite(), "{losses:?}");
    }
}

#[test]
fn log_probabilities_are_those_of_the_cpu() {
    for device in devices() {
        for [rows, vocab] in [[1, 1], [2, 7], [3, 520], [2, 13_001]] {
            let stride = vocab + 3;
            let logits: Vec<f32> = random(1, rows * stride).iter().map(|value| value * 12.0 + 5.0).collect();
            let labels: Vec<u32> =
                (0..rows).map(|row| u32::try_from((row * 31 + vocab - 1) % vocab).unwrap()).collect();
            let inside: Vec<f32> = logits.chunks(stride).flat_map(|row| row[..vocab].to_vec()).collect();
            let mut expected = vec![0.0; rows];
            cpu::cross_entropy(&inside, &labels, &mut expected).unwrap();
            let (logits, labels) = (upload_floats(&device, &logits), upload_numbers(&device, &labels));
            let out = upload_floats(&device, &vec![f32::NAN; rows]);
            let from = (logits.address(), stride);
            log_probabilities(&*device, from, labels.address(), out.address(), [rows, vocab]).unwrap();
            for (got, expected) in download_floats(&device, &out).iter().zip(&expected) {
                assert!((f64::from(*got) + expected).abs() < 1e-5, "got {got}, expected {expected}");
            }
        }
    }
}
