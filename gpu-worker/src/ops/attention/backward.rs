//! Gradients of attention, from the stored log-sums of the forward pass.

use rayon::prelude::*;

use super::{BLOCK, Heads, OPERATION, Span, check_spans};
use crate::ops::{
    OpError, ROWS_PER_TASK, check_length,
    matmul::{Matrix, MatrixMut, Term, multiply_here},
    simd::{dot, exp, vectorised, with_scratch},
};

/// What the backward pass reads and writes; shapes as in the forward pass.
#[derive(Debug)]
pub struct AttentionBackward<'a> {
    /// Queries `[rows, query width]`.
    pub queries: &'a [f32],
    /// Output of the forward pass.
    pub out: &'a [f32],
    /// Gradient of that output.
    pub d_out: &'a [f32],
    /// `ln Σ e^score` `[query heads, rows]`.
    pub log_sums: &'a [f32],
    /// Scratch of [`partial_length`] values.
    pub partial: &'a mut [f32],
    /// Destination for the gradient of the queries.
    pub d_queries: &'a mut [f32],
    /// Destination for the gradient of the keys `[rows, key-value width]`.
    pub d_keys: &'a mut [f32],
    /// Destination for the gradient of the values.
    pub d_values: &'a mut [f32],
}

/// Scratch values that the backward pass needs for `rows` rows: every query head's share of the gradients of keys and values.
pub fn partial_length(heads: Heads, rows: usize) -> usize {
    2 * heads.query_width() * rows
}

/// Computes the gradients of queries, keys and values, for spans whose keys are exactly their own rows.
///
/// # Errors
/// [`OpError`] when shapes differ. Destinations are then unspecified.
pub fn attention_backward(
    heads: Heads,
    spans: &[Span<'_>],
    operands: AttentionBackward<'_>,
) -> Result<(), OpError> {
    let AttentionBackward { queries, out, d_out, log_sums, partial, d_queries, d_keys, d_values } = operands;
    let rows = check_spans(heads, spans, queries.len())?;
    for (operand, got, expected) in [
        ("out", out.len(), queries.len()),
        ("d_out", d_out.len(), queries.len()),
        ("d_queries", d_queries.len(), queries.len()),
        ("log sums", log_sums.len(), rows * heads.query),
        ("partial", partial.len(), partial_length(heads, rows)),
        ("d_keys", d_keys.len(), rows * heads.key_value_width()),
        ("d_values", d_values.len(), rows * heads.key_value_width()),
        ("keys", spans.iter().map(|span| span.keys.rows()).sum(), rows),
    ] {
        check_length(OPERATION, operand, got, expected)?;
    }
    if rows == 0 {
        return Ok(());
    }
    let reads = [queries, out, d_out].map(|values| Matrix::new(values, rows, heads.query_width()));
    let [queries, out, d_out] = reads;
    let forward = Forward { queries: queries?, out: out?, d_out: d_out?, log_sums };
    let tasks = cut(heads, spans, forward, partial, MatrixMut::new(d_queries, rows, heads.query_width())?)?;
    let scale = heads.scale();
    tasks.into_par_iter().with_max_len(1).try_for_each(|task| task.compute(scale, heads))?;
    let (of_keys, of_values) = partial.split_at(partial.len() / 2);
    fold(heads, rows, of_keys, d_keys);
    fold(heads, rows, of_values, d_values);
    Ok(())
}

#[derive(Clone, Copy)]
struct Forward<'a> {
    queries: Matrix<'a>,
    out: Matrix<'a>,
    d_out: Matrix<'a>,
    log_sums: &'a [f32],
}

/// One head of one span.
struct Task<'a> {
    queries: Matrix<'a>,
    keys: Matrix<'a>,
    values: Matrix<'a>,
    out: Matrix<'a>,
    d_out: Matrix<'a>,
    log_sums: &'a [f32],
    d_queries: MatrixMut<'a>,
    /// This head's share of the gradients `[rows, dim]`.
    d_keys: &'a mut [f32],
    d_values: &'a mut [f32],
}

fn cut<'a>(
    heads: Heads,
    spans: &[Span<'a>],
    forward: Forward<'a>,
    partial: &'a mut [f32],
    mut d_queries: MatrixMut<'a>,
) -> Result<Vec<Task<'a>>, OpError> {
    let rows = forward.queries.rows();
    let (of_keys, of_values) = partial.split_at_mut(partial.len() / 2);
    let shares = of_keys.chunks_exact_mut(rows * heads.dim).zip(of_values.chunks_exact_mut(rows * heads.dim));
    let mut tasks = Vec::with_capacity(heads.query * spans.len());
    for (head, ((mut d_keys, mut d_values), mut log_sums)) in
        shares.zip(forward.log_sums.chunks_exact(rows)).enumerate()
    {
        let (mut column, rest) = d_queries.split_columns(heads.dim)?;
        d_queries = rest;
        let key_head = head / heads.group();
        let mut row = 0;
        for span in spans {
            let of_span =
                |m: Matrix<'a>| m.row_range(row, span.rows)?.column_range(head * heads.dim, heads.dim);
            let (into, below) = column.split_rows(span.rows)?;
            let (span_keys, later_keys) = d_keys.split_at_mut(span.rows * heads.dim);
            let (span_values, later_values) = d_values.split_at_mut(span.rows * heads.dim);
            let (span_sums, later_sums) = log_sums.split_at(span.rows);
            tasks.push(Task {
                queries: of_span(forward.queries)?,
                keys: span.keys.head(heads, key_head)?.rows("keys", heads.dim)?,
                values: span.values.head(heads, key_head)?.rows("values", heads.dim)?,
                out: of_span(forward.out)?,
                d_out: of_span(forward.d_out)?,
                log_sums: span_sums,
                d_queries: into,
                d_keys: span_keys,
                d_values: span_values,
            });
            (column, d_keys, d_values, log_sums) = (below, later_keys, later_values, later_sums);
            row += span.rows;
        }
    }
    Ok(tasks)
}

impl Task<'_> {
    fn compute(self, scale: f32, heads: Heads) -> Result<(), OpError> {
        let (rows, dim) = (self.queries.rows(), self.queries.columns());
        self.d_keys.fill(0.0);
        self.d_values.fill(0.0);
        let mut d_queries = self.d_queries;
        for (start, log_sums) in (0..rows).step_by(BLOCK).zip(self.log_sums.chunks(BLOCK)) {
            let count = log_sums.len();
            let (from, until) = (heads.first_key(start), start + count);
            let seen = until - from;
            let (into, below) = d_queries.split_rows(count)?;
            d_queries = below;
            let (queries, d_out) =
                (self.queries.row_range(start, count)?, self.d_out.row_range(start, count)?);
            let out = self.out.row_range(start, count)?;
            let (keys, values) = (self.keys.row_range(from, seen)?, self.values.row_range(from, seen)?);
            let (d_keys, d_values) = (
                self.d_keys.get_mut(from * dim..until * dim).unwrap_or_default(),
                self.d_values.get_mut(from * dim..until * dim).unwrap_or_default(),
            );
            with_scratch(2 * count * seen, |scratch| {
                let (weights, d_weights) = scratch.split_at_mut(count * seen);
                let scores = Term { a: queries, b: keys.transposed(), scale };
                multiply_here(MatrixMut::new(weights, count, seen)?, false, scores)?;
                let to_weights = Term { a: d_out, b: values.transposed(), scale: 1.0 };
                multiply_here(MatrixMut::new(d_weights, count, seen)?, false, to_weights)?;
                vectorised(
                    #[inline(always)]
                    || {
                        let place = (start - from, heads.window);
                        weights_and_score_gradients((weights, d_weights), place, log_sums, (out, d_out));
                    },
                );
                let weights = Matrix::new(weights, count, seen)?.transposed();
                let to_values = Term { a: weights, b: d_out, scale: 1.0 };
                multiply_here(MatrixMut::new(d_values, seen, dim)?, true, to_values)?;
                let d_scores = Matrix::new(d_weights, count, seen)?;
                multiply_here(into, false, Term { a: d_scores, b: keys, scale })?;
                let to_keys = Term { a: d_scores.transposed(), b: queries, scale };
                multiply_here(MatrixMut::new(d_keys, seen, dim)?, true, to_keys)
            })?;
        }
        Ok(())
    }
}

/// Turns scores into softmax weights, and gradients of weights into gradients of scores.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled inside `vectorised`")]
fn weights_and_score_gradients(
    (weights, d_weights): (&mut [f32], &mut [f32]),
    (first, window): (usize, Option<usize>),
    log_sums: &[f32],
    (out, d_out): (Matrix<'_>, Matrix<'_>),
) {
    let seen = weights.len() / log_sums.len().max(1);
    let rows = weights.chunks_exact_mut(seen).zip(d_weights.chunks_exact_mut(seen)).zip(log_sums);
    for (index, ((weights, d_weights), log_sum)) in rows.enumerate() {
        let shift = dot(out.row(index), d_out.row(index));
        let (visible, hidden) = weights.split_at_mut(first + index + 1);
        let (d_visible, d_hidden) = d_weights.split_at_mut(first + index + 1);
        let out_of_sight = window.map_or(0, |window| visible.len().saturating_sub(window));
        let (forgotten, visible) = visible.split_at_mut(out_of_sight);
        let (d_forgotten, d_visible) = d_visible.split_at_mut(out_of_sight);
        forgotten.fill(0.0);
        d_forgotten.fill(0.0);
        for (weight, d_weight) in visible.iter_mut().zip(d_visible) {
            *weight = exp(*weight - log_sum);
            *d_weight = *weight * (*d_weight - shift);
        }
        hidden.fill(0.0);
        d_hidden.fill(0.0);
    }
}

/// Adds the shares of the query heads that read the same key head, in the order of the heads.
fn fold(heads: Heads, rows: usize, shares: &[f32], into: &mut [f32]) {
    let (width, dim) = (heads.key_value_width(), heads.dim);
    let group = heads.group();
    into.par_chunks_mut(width * ROWS_PER_TASK).enumerate().for_each(|(task, into)| {
        for (index, into) in into.chunks_exact_mut(width).enumerate() {
            let row = task * ROWS_PER_TASK + index;
            for (key_head, into) in into.chunks_exact_mut(dim).enumerate() {
                into.fill(0.0);
                for head in key_head * group..(key_head + 1) * group {
                    let share = shares.get((head * rows + row) * dim..).unwrap_or_default();
                    for (into, share) in into.iter_mut().zip(share) {
                        *into += share;
                    }
                }
            }
        }
    });
}
