//! Checks the cross entropy and its gradient.

#![expect(clippy::cast_possible_truncation, reason = "test values are small")]

use super::{OpError, cap_logits, cross_entropy, cross_entropy_gradient};
use crate::ops::testing::{assert_close, numeric_gradient, random};

const LABELS: [u32; 3] = [0, 36, 7];

fn losses(logits: &[f32]) -> Vec<f64> {
    let mut losses = vec![0.0; LABELS.len()];
    cross_entropy(logits, &LABELS, &mut losses).unwrap();
    losses
}

#[test]
fn the_loss_of_equal_logits_is_the_log_of_the_vocabulary() {
    for loss in losses(&[2.5; 3 * 37]) {
        assert!((loss - 37.0_f64.ln()).abs() < 1e-6);
    }
}

#[test]
fn the_gradient_agrees_with_finite_differences_and_both_losses_agree() {
    let logits: Vec<f32> = random(1, 3 * 37).iter().map(|v| v * 3.0).collect();
    let (mut gradient, mut with_gradient) = (logits.clone(), vec![0.0; 3]);
    cross_entropy_gradient(&mut gradient, &LABELS, 0.5, None, &mut with_gradient).unwrap();
    let expected =
        numeric_gradient(&logits, &[0.5; 3], |logits| losses(logits).iter().map(|l| *l as f32).collect());
    assert_close(&gradient, &expected, 2e-3);
    for (a, b) in with_gradient.iter().zip(losses(&logits)) {
        assert!((a - b).abs() < 1e-6);
    }
}

#[test]
fn the_gradient_of_capped_logits_agrees_with_finite_differences() {
    let capped = |logits: &[f32]| {
        let mut logits = logits.to_vec();
        cap_logits(&mut logits, 2.0);
        logits
    };
    let logits: Vec<f32> = random(1, 3 * 37).iter().map(|v| v * 3.0).collect();
    let (mut gradient, mut with_gradient) = (capped(&logits), vec![0.0; 3]);
    assert!(gradient.iter().all(|logit| logit.abs() < 2.0));
    cross_entropy_gradient(&mut gradient, &LABELS, 0.5, Some(2.0), &mut with_gradient).unwrap();
    let expected = numeric_gradient(&logits, &[0.5; 3], |logits| {
        losses(&capped(logits)).iter().map(|loss| *loss as f32).collect()
    });
    assert_close(&gradient, &expected, 2e-3);
    for (a, b) in with_gradient.iter().zip(losses(&capped(&logits))) {
        assert!((a - b).abs() < 1e-6);
    }
}

#[test]
fn a_label_outside_the_vocabulary_is_refused() {
    let refused = cross_entropy(&[0.0; 4], &[4], &mut [0.0]).unwrap_err();
    assert!(matches!(refused, OpError::Index { operand: "label", got: 4, limit: 4, .. }));
}
