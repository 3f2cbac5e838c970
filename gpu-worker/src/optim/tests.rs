//! Checks AdamW and clipping.

use super::{Parameters, adamw, clip_factor, global_norm};
use crate::engine::StepOptions;

#[test]
fn the_first_step_moves_by_the_learning_rate_against_the_gradient() {
    let (mut values, mut first, mut second) = ([1.0_f32, 1.0], [0.0; 2], [0.0; 2]);
    let options = StepOptions { learning_rate: 0.1, weight_decay: 0.5, ..StepOptions::default() };
    let parameters = Parameters {
        values: &mut values,
        gradients: &[3.0, -0.01],
        first_moments: &mut first,
        second_moments: &mut second,
    };
    adamw(parameters, 1.0, 1, &options);
    assert!((values[0] - (0.95 - 0.1)).abs() < 1e-6, "{values:?}");
    assert!((values[1] - (0.95 + 0.1)).abs() < 1e-6, "{values:?}");
    assert!((first[0] - 0.3).abs() < 1e-6);
    assert!((second[0] - 0.009).abs() < 1e-6);
}

#[test]
fn long_gradients_are_clipped_and_short_ones_left() {
    let gradients = vec![0.5_f32; 40_000];
    let norm = global_norm(&gradients);
    assert!((norm - 100.0).abs() < 1e-9);
    assert!((f64::from(clip_factor(norm, Some(1.0))) - 0.01).abs() < 1e-7);
    assert!((clip_factor(norm, Some(200.0)) - 1.0).abs() < f32::EPSILON);
    assert!((clip_factor(norm, None) - 1.0).abs() < f32::EPSILON);
}
