//! Products with few rows, as generation has them: dot products, or weighted sums of rows, that read each weight once,
//! where it lies.
//!
//! The matrix library packs its factors first, which costs as much as such a product itself. No closure touches a register
//! here: it would be compiled without the caller's instruction set.

#![expect(clippy::indexing_slicing, reason = "all indices are below the lengths that the slices are cut to")]

use faer::MatMut;
use pulp::{Simd, WithSimd, bytemuck};

use super::{Matrix, Term};

/// Most rows of a destination for which dot products beat the matrix library: 1.6 times as fast at 2 and 4 rows, 1.2 times
/// at 8, slower from 16 on. Weighted sums of rows have the same limit; it was not timed for them.
const ROWS: usize = 8;
/// Rows of either factor that are multiplied at once: 16 sums stay in registers.
const BLOCK: usize = 4;
/// Rows of weights that a single row is multiplied with at once, each a stream that memory answers: SmolLM2-135M in f32
/// answered 34, 43 and 46 tokens per second with 4, 8 and 16 of them, and 34 with 24, whose sums leave the registers.
const SINGLE: usize = 16;
/// [`Mix`] takes [`BLOCK`] registers of columns at once; with every instruction set that divides this.
const MIXED: usize = 64;

/// Computes the product if it has few rows and its factors lie as generation has them; else says no.
pub(super) fn try_multiply(into: MatMut<'_, f32>, accumulate: bool, term: Term<'_>) -> bool {
    let Term { a: x, b, scale } = term;
    if into.nrows() > ROWS || !is_contiguous(x) {
        return false;
    }
    let weights = b.transposed();
    if x.columns() >= 64 && is_contiguous(weights) {
        pulp::Arch::new().dispatch(Narrow { into, accumulate, x, weights, scale });
        return true;
    }
    let fits = into.col_stride() == 1 && is_contiguous(b) && b.columns().is_multiple_of(MIXED);
    if fits {
        pulp::Arch::new().dispatch(Mix { into, accumulate, x, values: b, scale });
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
        // A single row leaves registers for more sums, and memory answers more streams faster.
        while rows == 1 && column + SINGLE <= columns {
            let weights: [_; SINGLE] = rows_from(self.weights, column);
            self.column_block(simd, rows, column, weights);
            column += SINGLE;
        }
        while column + BLOCK <= columns {
            let weights: [_; BLOCK] = rows_from(self.weights, column);
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
            self.store(row, column, &dots(simd, rows_from::<BLOCK>(self.x, row), weights));
            row += BLOCK;
        }
        match rows - row {
            0 => {}
            1 => self.store(row, column, &dots(simd, rows_from::<1>(self.x, row), weights)),
            2 => self.store(row, column, &dots(simd, rows_from::<2>(self.x, row), weights)),
            _ => self.store(row, column, &dots(simd, rows_from::<3>(self.x, row), weights)),
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

/// `into = [into +] scale · x · values`, the rows of values added up as `x` weighs them, as in attention's last step.
struct Mix<'a> {
    into: MatMut<'a, f32>,
    accumulate: bool,
    x: Matrix<'a>,
    values: Matrix<'a>,
    scale: f32,
}

impl WithSimd for Mix<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let rows = self.into.nrows();
        for column in (0..self.into.ncols()).step_by(BLOCK * S::F32_LANES) {
            let mut row = 0;
            while row + BLOCK <= rows {
                self.mix::<S, BLOCK>(simd, row, column);
                row += BLOCK;
            }
            match rows - row {
                0 => {}
                1 => self.mix::<S, 1>(simd, row, column),
                2 => self.mix::<S, 2>(simd, row, column),
                _ => self.mix::<S, 3>(simd, row, column),
            }
        }
    }
}

impl Mix<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    fn mix<S: Simd, const R: usize>(&mut self, simd: S, row: usize, column: usize) {
        let columns = column..column + BLOCK * S::F32_LANES;
        let x = rows_from::<R>(self.x, row);
        let mut sums = [[simd.splat_f32s(0.0); BLOCK]; R];
        for index in 0..self.x.columns() {
            let values = S::as_simd_f32s(&self.values.row(index)[columns.clone()]).0;
            for (sums, x) in sums.iter_mut().zip(x) {
                let weight = simd.splat_f32s(x[index]);
                for (sum, values) in sums.iter_mut().zip(values) {
                    *sum = simd.mul_add_e_f32s(weight, *values, *sum);
                }
            }
        }
        let scale = simd.splat_f32s(self.scale);
        for (i, sums) in sums.into_iter().enumerate() {
            let Some(into) = self.into.as_mut().row_mut(row + i).try_as_row_major_mut() else { continue };
            let into = S::as_mut_simd_f32s(&mut into.as_slice_mut()[columns.clone()]).0;
            for (into, sum) in into.iter_mut().zip(sums) {
                let before = if self.accumulate { *into } else { simd.splat_f32s(0.0) };
                *into = simd.mul_add_e_f32s(scale, sum, before);
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
    let whole = length / S::F32_LANES;
    let (mut x_whole, mut x_rest) = ([S::as_simd_f32s(&[]).0; R], [&[] as &[f32]; R]);
    for (x, (into, rest)) in x.into_iter().zip(x_whole.iter_mut().zip(&mut x_rest)) {
        let (registers, tail) = S::as_simd_f32s(&x[..length]);
        (*into, *rest) = (&registers[..whole], tail);
    }
    let (mut weights_whole, mut weights_rest) = ([S::as_simd_f32s(&[]).0; C], [&[] as &[f32]; C]);
    for (weights, (into, rest)) in weights.into_iter().zip(weights_whole.iter_mut().zip(&mut weights_rest)) {
        let (registers, tail) = S::as_simd_f32s(&weights[..length]);
        (*into, *rest) = (&registers[..whole], tail);
    }
    let mut sums = [[simd.splat_f32s(0.0); C]; R];
    for index in 0..whole {
        let mut loaded = [simd.splat_f32s(0.0); C];
        for (loaded, weights) in loaded.iter_mut().zip(&weights_whole) {
            *loaded = weights[index];
        }
        for (sums, x) in sums.iter_mut().zip(&x_whole) {
            for (sum, weights) in sums.iter_mut().zip(loaded) {
                *sum = simd.mul_add_e_f32s(x[index], weights, *sum);
            }
        }
    }
    let mut result = [[0.0; C]; R];
    for (row, (sums, x)) in result.iter_mut().zip(sums.iter().zip(x_rest)) {
        for (result, (sum, weights)) in row.iter_mut().zip(sums.iter().zip(weights_rest)) {
            *result = sum_of_lanes(bytemuck::cast_slice(std::slice::from_ref(sum)));
            for (x, weight) in x.iter().zip(weights) {
                *result += x * weight;
            }
        }
    }
    result
}

/// `N` rows from `start` on.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
fn rows_from<const N: usize>(matrix: Matrix<'_>, start: usize) -> [&[f32]; N] {
    let mut rows = [&[] as &[f32]; N];
    for (index, row) in rows.iter_mut().enumerate() {
        *row = matrix.row(start + index);
    }
    rows
}

/// Halves a register's lanes until one is left; several of these overlap, where the library's own reduction waits for each.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
fn sum_of_lanes(lanes: &[f32]) -> f32 {
    let (mut wide, mut eight, mut four) = ([0.0; 16], [0.0; 8], [0.0; 4]);
    wide[..lanes.len()].copy_from_slice(lanes);
    for i in 0..8 {
        eight[i] = wide[i] + wide[i + 8];
    }
    for i in 0..4 {
        four[i] = eight[i] + eight[i + 4];
    }
    (four[0] + four[2]) + (four[1] + four[3])
}
