//! Checks copies and random values.

use super::*;
use crate::{
    cuda::testing::devices,
    ops::testing::{
        device::{Matrix, rounded},
        random,
    },
};

#[test]
fn a_copy_has_the_same_values() {
    for device in devices() {
        for shape @ [rows, width] in [[1, 8], [3, 24], [50, 576], [2, 4096]] {
            let values = rounded(random(1, rows * width));
            let (x, out) = (Matrix::new(&device, &values, width), Matrix::zeros(&device, shape));
            copy(&*device, out.rows(), x.rows(), shape).unwrap();
            assert_eq!(out.values(), values);
        }
    }
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "a few thousand values")]
fn random_values_are_uniform_and_follow_from_the_seed() {
    for device in devices() {
        let shape = [40, 1001];
        let filled = |seed| {
            let out = Matrix::zeros(&device, shape);
            fill_uniform(&*device, out.rows(), shape, seed, 0.5).unwrap();
            out.values()
        };
        let values = filled(7);
        let count = values.len() as f32;
        let mean = values.iter().sum::<f32>() / count;
        let mean_square = values.iter().map(|value| value * value).sum::<f32>() / count;
        assert!(values.iter().all(|value| value.abs() <= 0.5));
        let same = values.windows(2).filter(|pair| pair[0].to_bits() == pair[1].to_bits()).count();
        assert!(same < values.len() / 100, "{same} neighbours are equal");
        assert!(mean.abs() < 0.01 && (mean_square - 0.25 / 3.0).abs() < 0.002, "{mean} {mean_square}");
        assert_eq!(values, filled(7));
        assert_ne!(values, filled(8));
    }
}
