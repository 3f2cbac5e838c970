//! The factors of a matrix with known singular values.

use super::*;
use crate::ops::testing::random;

/// `Σ strengths[i] · u_i·v_iᵀ` with orthonormal `u` and `v`.
fn matrix(rows: usize, columns: usize, strengths: &[f32]) -> Vec<f32> {
    let directions = |seed, width: usize| {
        let mut values = random(seed, strengths.len() * width);
        make_orthonormal(&mut values, width);
        values
    };
    let (left, right) = (directions(1, rows), directions(2, columns));
    let mut matrix = vec![0.0; rows * columns];
    for (index, strength) in strengths.iter().enumerate() {
        let (u, v) = (&left[index * rows..][..rows], &right[index * columns..][..columns]);
        for (row, u) in matrix.chunks_mut(columns).zip(u) {
            row.iter_mut().zip(v).for_each(|(value, v)| *value += strength * u * v);
        }
    }
    matrix
}

#[test]
fn the_product_keeps_the_strongest_directions_and_nothing_else() {
    let strengths: Vec<f32> = (0..20).map(|index| 10.0 * 0.7_f32.powi(index)).collect();
    let (rows, columns, rank) = (40, 27, 5);
    let whole = matrix(rows, columns, &strengths);
    let strongest = matrix(
        rows,
        columns,
        &strengths.iter().enumerate().map(|(i, s)| if i < rank { *s } else { 0.0 }).collect::<Vec<_>>(),
    );
    let (a, b) = factorise(Matrix::new(&whole, rows, columns).unwrap(), rank, 16).unwrap();
    for row in 0..rows {
        for column in 0..columns {
            let product: f32 = (0..rank).map(|k| b[row * rank + k] * a[k * columns + column]).sum();
            let expected = strongest[row * columns + column];
            assert!((product - expected).abs() < 1e-4, "[{row}, {column}]: {product}, expected {expected}");
        }
    }
    for (k, strength) in strengths.iter().take(rank).enumerate() {
        let norm = a[k * columns..][..columns].iter().map(|value| value * value).sum::<f32>();
        assert!((norm - strength).abs() < 1e-3, "direction {k} has the strength {norm}, expected {strength}");
    }
}

#[test]
fn a_matrix_of_zeroes_has_factors_of_zeroes() {
    let zeroes = vec![0.0; 12];
    let (a, b) = factorise(Matrix::new(&zeroes, 3, 4).unwrap(), 2, 4).unwrap();
    assert!(a.iter().chain(&b).all(|value| *value == 0.0));
}
