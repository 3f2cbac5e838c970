//! Products with few rows, as generation has them: dot products that read each weight once, where it lies.
//!
//! The matrix library packs its factors first, which costs as much as such a product itself.

#![expect(clippy::indexing_slicing, reason = "all indices are below the lengths that the slices are cut to")]

use faer::MatMut;
use pulp::{Simd, WithSimd, bytemuck};

use super::{Matrix, Term};

/// Most rows of a destination for which this beats the matrix library: 1.6 times as fast at 2 and 4 rows, 1.2 times at 8,
/// slower from 16 on.
const ROWS: usize = 8;
/// Rows of either factor that are multiplied at once: 16 sums stay in registers.
const BLOCK: usize = 4;

/// Computes the product if it has few rows and both factors are contiguous along the summed dimension; else says no.
pub(super) fn try_multiply(into: MatMut<'_, f32>, accumulate: bool, term: Term<'_>) -> bool {
    let weights = term.b.transposed();
    let fits =
        into.nrows() <= ROWS && term.a.columns() >= 64 && is_contiguous(term.a) && is_contiguous(weights);
    if fits {
        pulp::Arch::new().dispatch(Narrow { into, accumulate, x: term.a, weights, scale: term.scale });
    }
    fits
}

fn is_contiguous(m: Matrix<'_>) -> bool {
    m.0.col_stride() == 1 && m.columns() > 0
}

/// `into = [into +] scale · x · weightsᵀ`.
struct Narrow<'a> {
    into: MatMut<'a, f32>,
    accumulate: bool,
    x: Matrix<'a>,
    weights: Matrix<'a>,
    scale: f32,
}

impl WithSimd for Narrow<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (rows, columns) = (self.into.nrows(), self.into.ncols());
        let mut column = 0;
        while column + BLOCK <= columns {
            let weights = std::array::from_fn::<_, BLOCK, _>(|i| self.weights.row(column + i));
            self.column_block(simd, rows, column, weights);
            column += BLOCK;
        }
        while column < columns {
            let weights = [self.weights.row(column)];
            self.column_block(simd, rows, column, weights);
            column += 1;
        }
    }
}

impl Narrow<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    fn column_block<S: Simd, const C: usize>(
        &mut self,
        simd: S,
        rows: usize,
        column: usize,
        weights: [&[f32]; C],
    ) {
        let mut row = 0;
        while row + BLOCK <= rows {
            let x = std::array::from_fn::<_, BLOCK, _>(|i| self.x.row(row + i));
            self.store(row, column, &dots(simd, x, weights));
            row += BLOCK;
        }
        while row < rows {
            self.store(row, column, &dots(simd, [self.x.row(row)], weights));
            row += 1;
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    fn store<const R: usize, const C: usize>(&mut self, row: usize, column: usize, sums: &[[f32; C]; R]) {
        for (i, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                let into = self.into.as_mut().get_mut(row + i, column + j);
                let before = if self.accumulate { *into } else { 0.0 };
                *into = before + self.scale * sum;
            }
        }
    }
}

/// All dot products of `R` rows of `x` with `C` rows of weights, all of one length.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
fn dots<S: Simd, const R: usize, const C: usize>(
    simd: S,
    x: [&[f32]; R],
    weights: [&[f32]; C],
) -> [[f32; C]; R] {
    let length = x[0].len();
    let x = x.map(|row| S::as_simd_f32s(&row[..length]));
    let weights = weights.map(|row| S::as_simd_f32s(&row[..length]));
    let whole = x[0].0.len();
    let (x_whole, weights_whole) = (x.map(|row| &row.0[..whole]), weights.map(|row| &row.0[..whole]));
    let mut sums = [[simd.splat_f32s(0.0); C]; R];
    for index in 0..whole {
        let weights = weights_whole.map(|row| row[index]);
        for (sums, x) in sums.iter_mut().zip(x_whole) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = simd.mul_add_e_f32s(x[index], weight, *sum);
            }
        }
    }
    let mut result = sums.map(|sums| sums.map(|sum| sum_of_lanes(bytemuck::cast_slice(&[sum]))));
    for (result, x) in result.iter_mut().zip(x) {
        for (result, weights) in result.iter_mut().zip(weights) {
            *result += x.1.iter().zip(weights.1).map(|(x, weight)| x * weight).sum::<f32>();
        }
    }
    result
}

/// Halves a register's lanes until one is left; several of these overlap, where the library's own reduction waits for each.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
fn sum_of_lanes(lanes: &[f32]) -> f32 {
    let mut wide = [0.0; 16];
    wide[..lanes.len()].copy_from_slice(lanes);
    let eight: [f32; 8] = std::array::from_fn(|i| wide[i] + wide[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}
