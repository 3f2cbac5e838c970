//! The decomposition on small matrices.

use super::*;
use crate::engine::fill_uniform;

/// `[rows, columns]` of the given rank with strengths 1, 1/2, 1/4 …
fn matrix(rows: usize, columns: usize, rank: usize) -> Vec<f32> {
    let mut values = vec![0.0; rows * columns];
    let mut strength = 1.0;
    for direction in 0..rank {
        let (mut left, mut right) = (vec![0.0; rows], vec![0.0; columns]);
        fill_uniform(&mut left, 1.0, 7, direction as u64);
        fill_uniform(&mut right, 1.0, 8, direction as u64);
        for (row, left) in values.chunks_mut(columns).zip(left) {
            row.iter_mut().zip(&right).for_each(|(value, right)| *value += strength * left * right);
        }
        strength /= 2.0;
    }
    values
}

fn error_at(values: &[f32], rows: usize, columns: usize, rank: usize) -> f64 {
    let (a, b) = factorise(Matrix::new(values, rows, columns).unwrap(), rank, PASSES).unwrap();
    relative(squares(values, (&b, rows), (&a, columns), rank).unwrap())
}

#[test]
fn a_matrix_of_low_rank_is_met_exactly_at_that_rank() {
    for (rows, columns, rank) in [(40, 24, 3), (24, 40, 3), (1, 9, 1), (9, 1, 1), (12, 12, 12)] {
        let error = error_at(&matrix(rows, columns, rank), rows, columns, rank);
        assert!(error < 1e-5, "{rows} x {columns} of rank {rank}: {error}");
    }
}

#[test]
fn the_error_is_that_of_the_strengths_left_out() {
    // A diagonal of 4, 3, 2, 1: without the last two √(4 + 1) of √30 is left.
    let mut values = vec![0.0; 16];
    for (place, strength) in [4.0, 3.0, 2.0, 1.0].into_iter().enumerate() {
        values[place * 5] = strength;
    }
    let expected = (5.0_f64 / 30.0).sqrt();
    assert!((error_at(&values, 4, 4, 2) - expected).abs() < 1e-6);
    let full = matrix(64, 48, 48);
    let errors = [1, 2, 4, 8, 16, 48].map(|rank| error_at(&full, 64, 48, rank));
    assert!(errors.is_sorted_by(|one, other| one > other), "{errors:?}");
}

#[test]
fn a_matrix_of_zeros_gives_factors_of_zeros() {
    let (a, b) = factorise(Matrix::new(&[0.0; 12], 3, 4).unwrap(), 2, PASSES).unwrap();
    assert!(a.iter().chain(&b).all(|value| value.to_bits() << 1 == 0), "{a:?} {b:?}");
}

#[test]
fn the_same_matrix_gives_the_same_bytes() {
    let values = matrix(30, 20, 20);
    let factors = || factorise(Matrix::new(&values, 30, 20).unwrap(), 5, PASSES).unwrap();
    assert_eq!(factors(), factors());
}
