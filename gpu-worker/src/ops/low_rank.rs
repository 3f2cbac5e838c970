//! The closest matrix of a low rank: a truncated singular value decomposition.
//!
//! Source: Halko, Martinsson and Tropp, arXiv 0909.4061, algorithms 4.4 and 5.1, with one-sided Jacobi rotations for the
//! small matrix.

use super::{
    OpError,
    matmul::{Matrix, MatrixMut, Product, Term, multiply},
};
use crate::engine::fill_uniform;

/// Directions looked at beyond the rank.
const MORE: usize = 8;
/// Sweeps of rotations at most; a handful suffices.
const SWEEPS: usize = 30;

/// `A` `[rank, in]` and `B` `[out, rank]` whose product is the closest to `matrix` `[out, in]`; the same every time.
///
/// Both take the root of each singular value. `passes` turn the directions that are looked at towards the strongest ones: four
/// suffice where those stand out, sixteen where they do not.
///
/// # Errors
/// [`OpError`] never: all shapes follow from `matrix`.
#[expect(clippy::cast_possible_truncation, reason = "factors in f32")]
pub fn factorise(matrix: Matrix<'_>, rank: usize, passes: usize) -> Result<(Vec<f32>, Vec<f32>), OpError> {
    let (rows, columns) = (matrix.rows(), matrix.columns());
    let directions = (rank + MORE).min(rows).min(columns);
    let mut inputs = vec![0.0; directions * columns];
    fill_uniform(&mut inputs, 1.0, 0, 0);
    // Directions are rows: `outputs` [directions, out] spans what the matrix gives for `inputs` [directions, in].
    let mut outputs = vec![0.0; directions * rows];
    for _ in 0..passes {
        product(&inputs, (directions, columns), matrix.transposed(), &mut outputs)?;
        make_orthonormal(&mut outputs, rows);
        product(&outputs, (directions, rows), matrix, &mut inputs)?;
        make_orthonormal(&mut inputs, columns);
    }
    product(&inputs, (directions, columns), matrix.transposed(), &mut outputs)?;
    make_orthonormal(&mut outputs, rows);
    let mut small = vec![0.0; directions * columns];
    product(&outputs, (directions, rows), matrix, &mut small)?;
    // matrix ≈ outputsᵀ·small; rotating rows of both alike leaves the product as it is.
    let mut right: Vec<Vec<f64>> = small.chunks(columns).map(widen).collect();
    let mut left: Vec<Vec<f64>> = outputs.chunks(rows).map(widen).collect();
    make_rows_orthogonal(&mut right, &mut left);
    let mut order: Vec<(f64, usize)> = right.iter().map(|row| dot(row, row).sqrt()).zip(0..).collect();
    order.sort_by(|one, other| other.0.total_cmp(&one.0));
    let (mut a, mut b) = (vec![0.0; rank * columns], vec![0.0; rows * rank]);
    for (place, (strength, row)) in order.into_iter().take(rank).enumerate() {
        // Each factor takes the root of the strength, so that both are of like size.
        let root = strength.sqrt();
        let (Some(right), Some(left)) = (right.get(row), left.get(row)) else { continue };
        for (to, from) in a.iter_mut().skip(place * columns).zip(right) {
            *to = if root > 0.0 { (from / root) as f32 } else { 0.0 };
        }
        for (to, from) in b.iter_mut().skip(place).step_by(rank).zip(left) {
            *to = (from * root) as f32;
        }
    }
    Ok((a, b))
}

/// `into = a·b`, with `a` `[rows, inner]`.
pub(crate) fn product(
    a: &[f32],
    (rows, inner): (usize, usize),
    b: Matrix<'_>,
    into: &mut [f32],
) -> Result<(), OpError> {
    let columns = b.columns();
    let term = Term { a: Matrix::new(a, rows, inner)?, b, scale: 1.0 };
    multiply(vec![Product {
        into: MatrixMut::new(into, rows, columns)?,
        accumulate: false,
        terms: vec![term],
    }])
}

fn widen(row: &[f32]) -> Vec<f64> {
    row.iter().map(|value| f64::from(*value)).collect()
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// Makes rows of `width` values orthogonal to each other and of length 1, or 0 where nothing is left of them.
#[expect(clippy::cast_possible_truncation, reason = "directions in f32")]
fn make_orthonormal(values: &mut [f32], width: usize) {
    let mut done: Vec<Vec<f64>> = Vec::new();
    for row in values.chunks_mut(width) {
        let mut wide = widen(row);
        let before = dot(&wide, &wide).sqrt();
        // Twice: once leaves errors of the size of what was taken away.
        for _ in 0..2 {
            for earlier in &done {
                let along = dot(&wide, earlier);
                wide.iter_mut().zip(earlier).for_each(|(value, e)| *value -= along * e);
            }
        }
        let length = dot(&wide, &wide).sqrt();
        let inverse = if length > 1e-6 * before && length > 0.0 { 1.0 / length } else { 0.0 };
        for (to, value) in row.iter_mut().zip(&mut wide) {
            *value *= inverse;
            *to = *value as f32;
        }
        done.push(wide);
    }
}

/// Rotates pairs of rows until all are orthogonal, and the rows of `companions` alike.
fn make_rows_orthogonal(rows: &mut [Vec<f64>], companions: &mut [Vec<f64>]) {
    for _ in 0..SWEEPS {
        let mut rotated = false;
        for first in 0..rows.len() {
            for second in first + 1..rows.len() {
                let Ok([one, other]) = rows.get_disjoint_mut([first, second]) else { continue };
                let (alpha, beta, gamma) = (dot(one, one), dot(other, other), dot(one, other));
                if gamma.abs() <= 1e-14 * (alpha * beta).sqrt() {
                    continue;
                }
                rotated = true;
                let zeta = (beta - alpha) / (2.0 * gamma);
                let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let cosine = 1.0 / tangent.hypot(1.0);
                rotate(one, other, cosine, cosine * tangent);
                if let Ok([one, other]) = companions.get_disjoint_mut([first, second]) {
                    rotate(one, other, cosine, cosine * tangent);
                }
            }
        }
        if !rotated {
            return;
        }
    }
}

fn rotate(one: &mut [f64], other: &mut [f64], cosine: f64, sine: f64) {
    for (a, b) in one.iter_mut().zip(other) {
        (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
    }
}

#[cfg(test)]
mod tests;
