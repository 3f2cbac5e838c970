//! Checks the gated activation and its gradient.

use super::{swiglu, swiglu_backward};
use crate::ops::testing::{assert_close, numeric_gradient, random};

fn activated(gate: &[f32], up: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; gate.len()];
    swiglu(gate, up, &mut y).unwrap();
    y
}

#[test]
fn both_gradients_agree_with_finite_differences() {
    let gate: Vec<f32> = random(1, 50).iter().map(|v| v * 4.0).collect();
    let (up, dy) = (random(2, 50), random(3, 50));
    let (mut d_gate, mut d_up) = (gate.clone(), up.clone());
    swiglu_backward(&mut d_gate, &mut d_up, &dy).unwrap();
    assert_close(&d_gate, &numeric_gradient(&gate, &dy, |gate| activated(gate, &up)), 1e-3);
    assert_close(&d_up, &numeric_gradient(&up, &dy, |up| activated(&gate, up)), 1e-3);
}

#[test]
fn extreme_gates_saturate_without_nan() {
    assert_close(&activated(&[-1e4, 1e4, 0.0], &[2.0, 2.0, 2.0]), &[0.0, 2e4, 0.0], 1e-6);
}
