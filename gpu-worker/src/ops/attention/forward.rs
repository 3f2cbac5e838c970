//! Attention from queries, keys and values to outputs.

use rayon::prelude::*;

use super::{BLOCK, Heads, OneHead, PANEL, Span, check_spans};
use crate::ops::{
    OpError, check_length,
    matmul::{Matrix, MatrixMut, Term, multiply_here},
    simd::{exp_in_place, max, vectorised, with_scratch},
};

/// Multiplications below which one core is left to do them alone, as a query of a short text needs them.
const WORTH_SHARING: usize = 100_000;
/// Queries that are multiplied with one panel of keys after another, as many as products with few rows take; for more the
/// panels are put together first.
const FEW_QUERIES: usize = 8;
/// Keys that the heads of one query read in one task, so that threads which outnumber the heads, or do not divide them, have
/// something to do.
const CHUNK: usize = 4 * PANEL;

/// `out = softmax(queries · keysᵀ / √dim) · values` for each head, each query seeing the keys up to its own,
/// or as many of them as the window has room for. Rounding depends on how many queries of a sequence run together, not on
/// what other sequences run beside them.
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
    let mut sums = log_sums.chunks_exact_mut(rows.max(1));
    let group = heads.group();
    let mut blocks = Vec::new();
    for key_head in 0..heads.key_value {
        let (mut into, rest) = out.split_columns(group * heads.dim)?;
        out = rest;
        let mut sums: Vec<&mut [f32]> = sums.by_ref().take(group).collect();
        let mut row = 0;
        for span in spans {
            let (here, below) = into.split_rows(span.rows)?;
            into = below;
            let sums =
                sums.iter_mut().map(|sums| sums.split_off_mut(..span.rows).unwrap_or_default()).collect();
            let part = Part {
                queries: queries
                    .row_range(row, span.rows)?
                    .column_range(key_head * group * heads.dim, group * heads.dim)?,
                keys: span.keys.head(heads, key_head)?,
                values: span.values.head(heads, key_head)?.rows("values", heads.dim)?,
                offset: span.offset(),
                into: here,
                sums,
            };
            part.cut(heads, &mut blocks)?;
            row += span.rows;
        }
    }
    let scale = heads.scale();
    let work: usize = blocks.iter().map(Block::work).sum();
    if work < WORTH_SHARING {
        return blocks.into_iter().try_for_each(|block| block.compute(scale));
    }
    blocks.into_par_iter().with_max_len(1).try_for_each(|block| block.compute(scale))
}

/// The queries of a span whose heads share keys and values.
struct Part<'a> {
    queries: Matrix<'a>,
    keys: OneHead<'a>,
    values: Matrix<'a>,
    /// Keys before the first query's own.
    offset: usize,
    into: MatrixMut<'a>,
    /// One slice for each head.
    sums: Vec<&'a mut [f32]>,
}

impl<'a> Part<'a> {
    fn cut(self, heads: Heads, blocks: &mut Vec<Block<'a>>) -> Result<(), OpError> {
        let Self { queries, keys, values, offset, mut into, sums } = self;
        let seen = |first: usize, count: usize| -> Result<_, OpError> {
            let until = first + count;
            let (keys, from) = keys.seen(heads.dim, heads.first_key(first), until)?;
            Ok((from, keys, values.row_range(from, until - from)?))
        };
        if queries.rows() == 1 {
            // The heads of one query lie below each other as rows do: they read keys and values together.
            let (from, keys, values) = seen(offset, 1)?;
            let queries = Matrix::new(queries.row(0), sums.len(), heads.dim)?;
            let into = MatrixMut::new(into.into_row(), sums.len(), heads.dim)?;
            let sight = Sight { first: offset - from, step: 0, window: heads.window };
            blocks.push(Block { queries, keys, values, sight, into, log_sums: sums });
            return Ok(());
        }
        for (head, mut sums) in sums.into_iter().enumerate() {
            let (mut column, rest) = into.split_columns(heads.dim)?;
            into = rest;
            let queries = queries.column_range(head * heads.dim, heads.dim)?;
            for start in (0..queries.rows()).step_by(BLOCK) {
                let count = BLOCK.min(queries.rows() - start);
                let (into, below) = column.split_rows(count)?;
                column = below;
                let (from, keys, values) = seen(offset + start, count)?;
                blocks.push(Block {
                    queries: queries.row_range(start, count)?,
                    keys,
                    values,
                    sight: Sight { first: offset + start - from, step: 1, window: heads.window },
                    into,
                    log_sums: vec![sums.split_off_mut(..count).unwrap_or_default()],
                });
            }
        }
        Ok(())
    }
}

/// Which keys of a block its queries see.
#[derive(Clone, Copy)]
struct Sight {
    /// Position of the first query's own key among the keys.
    first: usize,
    /// How much further each query's own key is than that of the one before.
    step: usize,
    window: Option<usize>,
}

/// Up to [`BLOCK`] queries of one head, or all heads of one query that share keys and values.
struct Block<'a> {
    queries: Matrix<'a>,
    keys: OneHead<'a>,
    values: Matrix<'a>,
    sight: Sight,
    into: MatrixMut<'a>,
    /// One after another, those of the queries.
    log_sums: Vec<&'a mut [f32]>,
}

impl Block<'_> {
    /// Multiplications, about.
    fn work(&self) -> usize {
        2 * self.queries.rows() * self.queries.columns() * self.values.rows()
    }

    fn compute(self, scale: f32) -> Result<(), OpError> {
        if self.sight.step == 0 && self.values.rows() > CHUNK {
            return self.compute_in_chunks(scale);
        }
        let Self { queries, keys, values, sight, into, log_sums } = self;
        let rows = queries.rows();
        let width = keys.width(queries.columns());
        let is_put_together = matches!(keys, OneHead::Panels(_)) && rows > FEW_QUERIES;
        let aside = if is_put_together { width * queries.columns() } else { 0 };
        with_scratch(rows * width + aside, |scratch| {
            let (scores, aside) = scratch.split_at_mut(rows * width);
            scores_of(queries, keys, scale, MatrixMut::new(scores, rows, width)?, aside)?;
            vectorised(
                #[inline(always)]
                || softmax_rows(scores, width, sight, log_sums.into_iter().flatten()),
            );
            let a = Matrix::new(scores, rows, width)?.column_range(0, values.rows())?;
            multiply_here(into, false, Term { a, b: values, scale: 1.0 })
        })
    }

    /// The heads of one query over many keys, a chunk at a time.
    fn compute_in_chunks(self, scale: f32) -> Result<(), OpError> {
        let Self { queries, keys, values, sight, into, log_sums } = self;
        let (heads, dim) = (queries.rows(), queries.columns());
        let until = sight.first + 1;
        let seen_from = sight.window.map_or(0, |window| until.saturating_sub(window));
        let chunks =
            (seen_from / CHUNK..until.div_ceil(CHUNK)).into_par_iter().with_max_len(1).map(|chunk| {
                let (start, end) = (chunk * CHUNK, until.min((chunk + 1) * CHUNK));
                let (mut out, mut sums) = (vec![0.0; heads * dim], vec![0.0; heads]);
                let part = Block {
                    queries,
                    keys: keys.seen(dim, start, end)?.0,
                    values: values.row_range(start, end - start)?,
                    sight: Sight {
                        first: end - 1 - start,
                        step: 0,
                        window: Some(end - seen_from.max(start)),
                    },
                    into: MatrixMut::new(&mut out, heads, dim)?,
                    log_sums: vec![&mut sums],
                };
                part.compute(scale)?;
                Ok((out, sums))
            });
        let chunks: Vec<(Vec<f32>, Vec<f32>)> = chunks.collect::<Result<_, OpError>>()?;
        join(&chunks, dim, into, log_sums.into_iter().flatten());
        Ok(())
    }
}

/// Writes what attention over all chunks gives, from each one's result `[heads, dim]` and `ln Σ e^score` of each head: results
/// are weighted by `Σ e^score` of their chunk over that of all. Source: Dao et al., "Flash-Decoding", 2023.
fn join<'a>(
    chunks: &[(Vec<f32>, Vec<f32>)],
    dim: usize,
    mut into: MatrixMut<'_>,
    log_sums: impl Iterator<Item = &'a mut f32>,
) {
    for (head, log_sum) in log_sums.enumerate() {
        let of_head = |sums: &[f32]| sums.get(head).copied().unwrap_or(f32::NEG_INFINITY);
        let largest = chunks.iter().fold(f32::NEG_INFINITY, |most, (_, sums)| most.max(of_head(sums)));
        let total: f32 = chunks.iter().map(|(_, sums)| (of_head(sums) - largest).exp()).sum();
        *log_sum = largest + total.ln();
        let into = into.row_mut(head);
        into.fill(0.0);
        for (out, sums) in chunks {
            let share = (of_head(sums) - *log_sum).exp();
            for (into, out) in into.iter_mut().zip(out.iter().skip(head * dim)) {
                *into += share * out;
            }
        }
    }
}

/// `into = scale · queries · keysᵀ`; `aside` has room for the keys of all panels, or none where they are taken one by one.
fn scores_of(
    queries: Matrix<'_>,
    keys: OneHead<'_>,
    scale: f32,
    mut into: MatrixMut<'_>,
    aside: &mut [f32],
) -> Result<(), OpError> {
    let (dim, width) = (queries.columns(), into.columns());
    let panels = match keys {
        OneHead::Rows(rows) => {
            return multiply_here(into, false, Term { a: queries, b: rows.transposed(), scale });
        }
        OneHead::Panels(panels) => panels,
    };
    if !aside.is_empty() {
        for (column, into) in aside.chunks_exact_mut(width).enumerate() {
            for (panel, into) in into.chunks_exact_mut(PANEL).enumerate() {
                into.copy_from_slice(panels.row(panel * dim + column));
            }
        }
        return multiply_here(into, false, Term { a: queries, b: Matrix::new(aside, dim, width)?, scale });
    }
    for panel in 0..width / PANEL {
        let (part, rest) = into.split_columns(PANEL)?;
        into = rest;
        multiply_here(part, false, Term { a: queries, b: panels.row_range(panel * dim, dim)?, scale })?;
    }
    Ok(())
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled inside `vectorised`")]
fn softmax_rows<'a>(
    scores: &mut [f32],
    width: usize,
    Sight { first, step, window }: Sight,
    log_sums: impl Iterator<Item = &'a mut f32>,
) {
    for (index, (row, log_sum)) in scores.chunks_exact_mut(width).zip(log_sums).enumerate() {
        let (visible, hidden) = row.split_at_mut(first + index * step + 1);
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
