//! The last normalisation, the output head and the loss, a chunk of rows at a time.

use super::{buffers::HeadBuffers, weights::Weights};
use crate::{
    engine::EngineError,
    model::ModelConfig,
    ops::{
        OpError,
        head_loss::{cross_entropy, cross_entropy_gradient},
        matmul::{Matrix, MatrixMut, Product, Term, multiply},
        rms_norm::{rms_norm, rms_norm_backward},
    },
};

/// Logits held at once: 32 Mi values or 128 MiB, so that a pass over the head's weights serves many rows.
const LOGITS: usize = 32 << 20;

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
        logits(config, weights, hidden, rows, buffers)?;
        let logits = buffers.logits.read(rows.len() * config.vocab_size);
        let first = all.len();
        all.resize(first + rows.len(), 0.0);
        cross_entropy(logits, labels, all.get_mut(first..).unwrap_or_default())?;
    }
    Ok(all)
}

/// Logits of the given rows of the residual stream, left in `buffers.logits [rows, vocab]`.
pub(super) fn logits(
    config: &ModelConfig,
    weights: &Weights<'_>,
    hidden: &[f32],
    rows: &[usize],
    buffers: &mut HeadBuffers,
) -> Result<(), EngineError> {
    let width = config.hidden_size;
    let raw = buffers.d_picked.write(rows.len() * width);
    gather(hidden, width, rows, raw)?;
    let picked = buffers.picked.write(rows.len() * width);
    rms_norm(raw, weights.norm, config.rms_norm_eps, picked)?;
    let logits = buffers.logits.write(rows.len() * config.vocab_size);
    let a = Matrix::new(picked, rows.len(), width)?;
    let terms = vec![Term { a, b: weights.head.transposed(), scale: 1.0 }];
    let into = MatrixMut::new(logits, rows.len(), config.vocab_size)?;
    Ok(multiply(vec![Product { into, accumulate: false, terms }])?)
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
        logits(config, weights, hidden, rows, buffers)?;
        let HeadBuffers { picked, d_picked, logits, losses } = buffers;
        losses.resize(rows.len(), 0.0);
        let logits = logits.write(rows.len() * vocab);
        cross_entropy_gradient(logits, labels, scale, losses)?;
        sum += losses.iter().sum::<f64>();
        let d_normed = picked.write(rows.len() * width);
        let terms = vec![Term { a: Matrix::new(logits, rows.len(), vocab)?, b: weights.head, scale: 1.0 }];
        let into = MatrixMut::new(d_normed, rows.len(), width)?;
        multiply(vec![Product { into, accumulate: false, terms }])?;
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
