//! Checks the vectorised building blocks.

use super::{dot, exp, exp_in_place, max, sum_of, vectorised};

#[test]
fn exp_agrees_with_the_standard_library_over_its_range() {
    for i in -8600..8700_i16 {
        let x = f32::from(i) / 100.0;
        let (got, expected) = (vectorised(|| exp(x)), f64::from(x).exp());
        assert!((f64::from(got) / expected - 1.0).abs() < 3e-7, "exp({x}) = {got}, expected {expected}");
    }
}

#[test]
fn reductions_cover_the_ragged_tail() {
    let x: Vec<f32> = (0..37_u8).map(f32::from).collect();
    assert!((sum_of(&x, |v| v) - 666.0).abs() < f32::EPSILON);
    assert!((max(&x) - 36.0).abs() < f32::EPSILON);
    assert!((dot(&x, &x) - 16_206.0).abs() < f32::EPSILON);
    let mut y = x.clone();
    let sum = exp_in_place(&mut y, 36.0);
    assert!((f64::from(sum) - x.iter().map(|v| f64::from(v - 36.0).exp()).sum::<f64>()).abs() < 1e-5);
}
