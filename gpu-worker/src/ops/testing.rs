//! Seeded values, tolerant comparison and finite differences for the tests of operations.

#![expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "test values are small")]

pub(crate) mod device;

/// `count` values uniform in ±1 from a seed.
pub(crate) fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    (0..count).map(|_| (next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0).collect()
}

/// Asserts that every value lies within `tolerance` of the largest expected magnitude.
#[track_caller]
pub(crate) fn assert_close(got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len());
    let magnitude = expected.iter().fold(1e-3_f32, |largest, v| largest.max(v.abs()));
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!(
            (g - e).abs() <= tolerance * magnitude,
            "value {i}: got {g}, expected {e} (magnitude {magnitude})"
        );
    }
}

/// Gradient of `Σ weights · f(x)` by central differences, summed in f64.
pub(crate) fn numeric_gradient(x: &[f32], weights: &[f32], f: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
    let step = 1e-2;
    let weighted =
        |x: &[f32]| -> f64 { f(x).iter().zip(weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum() };
    let mut moved = x.to_vec();
    (0..x.len())
        .map(|i| {
            moved[i] = x[i] + step;
            let above = weighted(&moved);
            moved[i] = x[i] - step;
            let below = weighted(&moved);
            moved[i] = x[i];
            ((above - below) / (2.0 * f64::from(step))) as f32
        })
        .collect()
}
