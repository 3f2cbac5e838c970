//! Attention from queries, keys and values to outputs.

use rayon::prelude::*;

use super::{BLOCK, Heads, Span, check_spans};
use crate::ops::{
    OpError, check_length,
    matmul::{Matrix, MatrixMut, Term, multiply_here},
    simd::{exp_in_place, max, vectorised, with_scratch},
};

/// `out = softmax(queries · keysᵀ / √dim) · values` for each head, each query seeing the keys up to its own,
/// or as many of them as the window has room for.
///
/// Shapes: `queries`, `out` `[rows, query width]`, `log_sums [query heads, rows]` receives `ln Σ e^score` for the backward pass.
///
/// # Errors
/// [`OpError`] when shapes differ. Nothing is written then.
pub fn attention(
    heads: Heads,
    queries: &[f32],
    spans: &[Span<'_>],
    out: &mut [f32],
    log_sums: &mut [f32],
) -> Result<(), OpError> {
    let rows = check_spans(heads, spans, queries.len())?;
    check_length(super::OPERATION, "out", out.len(), queries.len())?;
    check_length(super::OPERATION, "log sums", log_sums.len(), rows * heads.query)?;
    let queries = Matrix::new(queries, rows, heads.query_width())?;
    let mut out = MatrixMut::new(out, rows, heads.query_width())?;
    let mut blocks = Vec::new();
    for (head, mut sums) in log_sums.chunks_exact_mut(rows.max(1)).enumerate() {
        let (mut column, rest) = out.split_columns(heads.dim)?;
        out = rest;
        let mut row = 0;
        for span in spans {
            let key_column = head / (heads.query / heads.key_value) * heads.dim;
            let keys = span.keys.column_range(key_column, heads.dim)?;
            let values = span.values.column_range(key_column, heads.dim)?;
            for start in (0..span.rows).step_by(BLOCK) {
                let count = BLOCK.min(span.rows - start);
                let (into, below) = column.split_rows(count)?;
                column = below;
                let (log_sums, later) = sums.split_at_mut(count);
                sums = later;
                let queries = queries.row_range(row, count)?.column_range(head * heads.dim, heads.dim)?;
                let first = span.offset() + start;
                let (from, until) = (heads.first_key(first), first + count);
                let (keys, values) =
                    (keys.row_range(from, until - from)?, values.row_range(from, until - from)?);
                blocks.push(Block { queries, keys, values, first: first - from, into, log_sums });
                row += count;
            }
        }
    }
    let scale = heads.scale();
    blocks.into_par_iter().with_max_len(1).try_for_each(|block| block.compute(scale, heads.window))
}

/// Up to [`BLOCK`] queries of one head.
struct Block<'a> {
    queries: Matrix<'a>,
    keys: Matrix<'a>,
    values: Matrix<'a>,
    /// Position of the first query's own key among the keys.
    first: usize,
    into: MatrixMut<'a>,
    log_sums: &'a mut [f32],
}

impl Block<'_> {
    fn compute(self, scale: f32, window: Option<usize>) -> Result<(), OpError> {
        let Self { queries, keys, values, first, into, log_sums } = self;
        let (rows, seen) = (queries.rows(), keys.rows());
        with_scratch(rows * seen, |scores| {
            let products = Term { a: queries, b: keys.transposed(), scale };
            multiply_here(MatrixMut::new(scores, rows, seen)?, false, products)?;
            vectorised(
                #[inline(always)]
                || softmax_rows(scores, seen, (first, window), log_sums),
            );
            let term = Term { a: Matrix::new(scores, rows, seen)?, b: values, scale: 1.0 };
            multiply_here(into, false, term)
        })
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled inside `vectorised`")]
fn softmax_rows(
    scores: &mut [f32],
    seen: usize,
    (first, window): (usize, Option<usize>),
    log_sums: &mut [f32],
) {
    for (index, (row, log_sum)) in scores.chunks_exact_mut(seen).zip(log_sums).enumerate() {
        let (visible, hidden) = row.split_at_mut(first + index + 1);
        let out_of_sight = window.map_or(0, |window| visible.len().saturating_sub(window));
        let (forgotten, visible) = visible.split_at_mut(out_of_sight);
        forgotten.fill(0.0);
        let largest = max(visible);
        let sum = exp_in_place(visible, largest);
        let factor = 1.0 / sum;
        for value in visible {
            *value *= factor;
        }
        hidden.fill(0.0);
        *log_sum = largest + sum.ln();
    }
}
