//! The last normalisation, the output head and the loss, a chunk of rows at a time.

use super::{
    buffers::{Buffer, HeadBuffers},
    weights::{Frozen, Weights},
};
use crate::{
    engine::EngineError,
    model::ModelConfig,
    ops::{
        OpError, ggml,
        ggml::BlockProduct,
        head_loss::{cap_logits, cross_entropy, cross_entropy_gradient},
        matmul::{Matrix, MatrixMut, Product, Term, multiply},
        rms_norm::{rms_norm, rms_norm_backward},
    },
};

/// Logits held at once: 32 Mi values or 128 MiB, so that a pass over the head's weights serves many rows.
const LOGITS: usize = 32 << 20;

/// Rows of a head in blocks that are held in f32 at once; tiles of products end where they do without blocks.
pub(super) const TILE_ROWS: usize = 6144;

/// Rows of the residual stream that enter the head, each with the token expected there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Targets<'a> {
    pub(super) rows: &'a [usize],
    pub(super) labels: &'a [u32],
}

/// Rows whose logits fit [`LOGITS`]; depends on the vocabulary alone.
pub(super) fn chunk_rows(vocab_size: usize) -> usize {
    (LOGITS / vocab_size.max(1)).clamp(16, 512)
}

/// The loss of each target, in order, without gradients.
pub(super) fn losses(
    config: &ModelConfig,
    weights: &Weights<'_>,
    hidden: &[f32],
    targets: Targets<'_>,
    buffers: &mut HeadBuffers,
) -> Result<Vec<f64>, EngineError> {
    let mut all = Vec::with_capacity(targets.labels.len());
    let chunk = chunk_rows(config.vocab_size);
    for (rows, labels) in targets.rows.chunks(chunk).zip(targets.labels.chunks(chunk)) {
        logits(config, weights, hidden, rows, buffers, false)?;
        let logits = buffers.logits.read(rows.len() * config.vocab_size);
        let first = all.len();
        all.resize(first + rows.len(), 0.0);
        cross_entropy(logits, labels, all.get_mut(first..).unwrap_or_default())?;
    }
    Ok(all)
}

/// Logits of the given rows of the residual stream, left in `buffers.logits [rows, vocab]`; with `rounded` from rows of eight
/// bits, where the head is in blocks.
pub(super) fn logits(
    config: &ModelConfig,
    weights: &Weights<'_>,
    hidden: &[f32],
    rows: &[usize],
    buffers: &mut HeadBuffers,
    rounded: bool,
) -> Result<(), EngineError> {
    let width = config.hidden_size;
    let raw = buffers.d_picked.write(rows.len() * width);
    gather(hidden, width, rows, raw)?;
    let picked = buffers.picked.write(rows.len() * width);
    rms_norm(raw, weights.norm, config.rms_norm_eps, picked)?;
    let logits = buffers.logits.write(rows.len() * config.vocab_size);
    let a = Matrix::new(picked, rows.len(), width)?;
    let mut into = MatrixMut::new(&mut *logits, rows.len(), config.vocab_size)?;
    if let (true, Frozen::Blocks(blocks)) = (rounded, weights.head) {
        ggml::multiply(a, vec![BlockProduct { weights: blocks, into }], false)?;
    } else {
        while into.columns() > 0 {
            let tile = tile(weights.head, config.vocab_size - into.columns(), &mut buffers.weights)?;
            let (part, rest) = into.split_columns(tile.rows())?;
            let terms = vec![Term { a, b: tile.transposed(), scale: 1.0 }];
            multiply(vec![Product { into: part, accumulate: false, terms }])?;
            into = rest;
        }
    }
    if let Some(cap) = config.variant.logit_cap {
        cap_logits(logits, cap);
    }
    Ok(())
}

/// Rows of the head in f32 from `start` on, which is 0 or where an earlier tile ended; all of them where they are held so.
fn tile<'a>(head: Frozen<'a>, start: usize, buffer: &'a mut Buffer) -> Result<Matrix<'a>, OpError> {
    let [vocab, width] = head.shape();
    match head {
        Frozen::Full(matrix) => Ok(matrix),
        Frozen::Nf4(tensor) => {
            let values = buffer.write(tensor.len());
            tensor.dequantise(values);
            Matrix::new(values, vocab, width)
        }
        Frozen::Blocks(blocks) => {
            let rows = TILE_ROWS.min(vocab - start);
            let values = buffer.write(rows * width);
            blocks.read_rows(start, values);
            Matrix::new(values, rows, width)
        }
    }
}

/// The summed loss, and in `d_hidden` the gradient of `scale · loss` for the residual stream.
pub(super) fn loss_and_gradient(
    (config, weights): (&ModelConfig, &Weights<'_>),
    hidden: &[f32],
    targets: Targets<'_>,
    scale: f32,
    d_hidden: &mut [f32],
    buffers: &mut HeadBuffers,
) -> Result<f64, EngineError> {
    let (width, vocab) = (config.hidden_size, config.vocab_size);
    d_hidden.fill(0.0);
    let mut sum = 0.0;
    let chunk = chunk_rows(vocab);
    for (rows, labels) in targets.rows.chunks(chunk).zip(targets.labels.chunks(chunk)) {
        logits(config, weights, hidden, rows, buffers, false)?;
        let HeadBuffers { picked, d_picked, logits, losses, weights: tile } = buffers;
        losses.resize(rows.len(), 0.0);
        let logits = logits.write(rows.len() * vocab);
        cross_entropy_gradient(logits, labels, scale, config.variant.logit_cap, losses)?;
        sum += losses.iter().sum::<f64>();
        let d_normed = picked.write(rows.len() * width);
        let d_logits = Matrix::new(logits, rows.len(), vocab)?;
        let mut start = 0;
        while start < vocab {
            let b = self::tile(weights.head, start, tile)?;
            let terms = vec![Term { a: d_logits.column_range(start, b.rows())?, b, scale: 1.0 }];
            let into = MatrixMut::new(d_normed, rows.len(), width)?;
            multiply(vec![Product { into, accumulate: start > 0, terms }])?;
            start += b.rows();
        }
        let raw = d_picked.read(rows.len() * width);
        scatter(raw, d_normed, (config, weights), rows, d_hidden)?;
    }
    Ok(sum)
}

/// Takes gradients of normalised rows back through the normalisation, to their places in the residual stream.
fn scatter(
    raw: &[f32],
    d_normed: &[f32],
    (config, weights): (&ModelConfig, &Weights<'_>),
    rows: &[usize],
    d_hidden: &mut [f32],
) -> Result<(), OpError> {
    let width = config.hidden_size;
    for (row, (raw, d_normed)) in rows.iter().zip(raw.chunks_exact(width).zip(d_normed.chunks_exact(width))) {
        let into = d_hidden.get_mut(row * width..(row + 1) * width).unwrap_or_default();
        rms_norm_backward(raw, weights.norm, config.rms_norm_eps, d_normed, into)?;
    }
    Ok(())
}

fn gather(from: &[f32], width: usize, rows: &[usize], into: &mut [f32]) -> Result<(), OpError> {
    for (row, into) in rows.iter().zip(into.chunks_exact_mut(width)) {
        let Some(source) = from.get(row * width..(row + 1) * width) else {
            let limit = from.len() / width;
            return Err(OpError::Index { operation: "output head", operand: "row", got: *row, limit });
        };
        into.copy_from_slice(source);
    }
    Ok(())
}
