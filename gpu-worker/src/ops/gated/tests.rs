//! Checks the gated activations and their gradients.

use super::{Activation, gated, gated_backward};
use crate::ops::testing::{assert_close, numeric_gradient, random};

fn activated(activation: Activation, gate: &[f32], up: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; gate.len()];
    gated(activation, gate, up, &mut y).unwrap();
    y
}

#[test]
fn both_gradients_agree_with_finite_differences() {
    for activation in [Activation::Silu, Activation::Gelu] {
        let gate: Vec<f32> = random(1, 50).iter().map(|v| v * 4.0).collect();
        let (up, dy) = (random(2, 50), random(3, 50));
        let (mut d_gate, mut d_up) = (gate.clone(), up.clone());
        gated_backward(activation, &mut d_gate, &mut d_up, &dy).unwrap();
        assert_close(&d_gate, &numeric_gradient(&gate, &dy, |gate| activated(activation, gate, &up)), 1e-3);
        assert_close(&d_up, &numeric_gradient(&up, &dy, |up| activated(activation, &gate, up)), 1e-3);
    }
}

#[test]
fn gelu_has_the_values_of_pytorch() {
    // torch.nn.functional.gelu(x, approximate="tanh")
    let expected = [-0.158_808, -0.154_286, 0.0, 0.345_714, 0.841_192, 2.996_363];
    assert_close(&activated(Activation::Gelu, &[-1.0, -0.5, 0.0, 0.5, 1.0, 3.0], &[1.0; 6]), &expected, 1e-5);
}

#[test]
fn extreme_gates_saturate_without_nan() {
    for activation in [Activation::Silu, Activation::Gelu] {
        let got = activated(activation, &[-1e4, 1e4, 0.0], &[2.0, 2.0, 2.0]);
        assert_close(&got, &[0.0, 2e4, 0.0], 1e-6);
    }
}
