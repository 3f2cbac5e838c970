//! Checks rotary embedding and its scaling.

use super::{OpError, RopeTable, Rotation, frequencies, scaled};
use crate::{
    engine::reference::testing::tiny_config,
    model::{Llama3Scaling, RopeScaling},
    ops::testing::{assert_close, numeric_gradient, random},
};

fn table() -> RopeTable {
    let mut table = RopeTable::new(tiny_config().head_dim, tiny_config().rope_theta, None);
    table.reserve(32);
    table
}

#[test]
fn rotating_back_restores_the_values() {
    let (x, positions) = (random(1, 3 * 32), [0, 7, 31]);
    let mut rotated = x.clone();
    table().rotate(&mut rotated, &positions, Rotation::Forward).unwrap();
    assert_close(&rotated[..32], &x[..32], 1e-6);
    table().rotate(&mut rotated, &positions, Rotation::Backward).unwrap();
    assert_close(&rotated, &x, 1e-5);
}

#[test]
fn tables_hold_no_more_positions_than_asked_for() {
    let mut table = table();
    let ((few, _), half) = (table.tables(3), tiny_config().head_dim / 2);
    assert_eq!(few.len(), 3 * half);
    assert_eq!(table.tables(40).1.len(), 40 * half);
}

#[test]
fn the_backward_rotation_is_the_gradient() {
    let (x, dy, positions) = (random(1, 2 * 16), random(2, 2 * 16), [3, 9]);
    let rotate = |x: &[f32], rotation| {
        let mut y = x.to_vec();
        table().rotate(&mut y, &positions, rotation).unwrap();
        y
    };
    let expected = numeric_gradient(&x, &dy, |x| rotate(x, Rotation::Forward));
    assert_close(&rotate(&dy, Rotation::Backward), &expected, 1e-3);
}

#[test]
fn llama_3_scaling_keeps_high_and_stretches_low_frequencies() {
    let scaling = Llama3Scaling {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_positions: 8192,
    };
    assert!((scaled(1.0, scaling) - 1.0).abs() < f32::EPSILON);
    assert!((scaled(1e-5, scaling) - 1.25e-6).abs() < 1e-12);
    let blended = scaled(0.0015, scaling);
    assert!(blended < 0.0015 && blended > 0.0015 / 8.0);
    let stretched = frequencies(8, 1e4, Some(RopeScaling::Linear { factor: 4.0 }));
    assert_eq!(stretched, frequencies(8, 1e4, None).iter().map(|f| f / 4.0).collect::<Vec<_>>());
    assert_eq!(frequencies(8, 1e4, Some(RopeScaling::Llama3(scaling))).len(), 4);
}

#[test]
fn a_position_not_reserved_is_refused() {
    let refused = table().rotate(&mut [0.0; 16], &[32], Rotation::Forward).unwrap_err();
    assert!(matches!(refused, OpError::Index { got: 32, limit: 32, .. }));
}
