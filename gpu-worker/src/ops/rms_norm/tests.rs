//! Checks RMS normalisation and its gradient.

use super::{OpError, rms_norm, rms_norm_backward};
use crate::ops::testing::{assert_close, numeric_gradient, random};

fn normalised(x: &[f32], weight: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    rms_norm(x, weight, 1e-5, &mut y).unwrap();
    y
}

#[test]
fn rows_have_unit_mean_square_under_a_unit_weight() {
    let y = normalised(&random(1, 40 * 37), &[1.0; 37]);
    for row in y.chunks(37) {
        let mean_square = row.iter().map(|v| v * v).sum::<f32>() / 37.0;
        assert!((mean_square - 1.0).abs() < 1e-3);
    }
}

#[test]
fn the_gradient_agrees_with_finite_differences_and_is_added() {
    let (x, weight, dy) = (random(1, 3 * 19), random(2, 19), random(3, 3 * 19));
    let mut dx = vec![0.25; x.len()];
    rms_norm_backward(&x, &weight, 1e-5, &dy, &mut dx).unwrap();
    let expected: Vec<f32> =
        numeric_gradient(&x, &dy, |x| normalised(x, &weight)).iter().map(|g| g + 0.25).collect();
    assert_close(&dx, &expected, 1e-3);
}

#[test]
fn a_ragged_input_is_refused() {
    let refused = rms_norm(&[1.0; 5], &[1.0; 2], 1e-5, &mut [0.0; 5]).unwrap_err();
    assert!(matches!(refused, OpError::Length { operand: "x", got: 5, expected: 4, .. }));
}
