//! Magnitudes of outputs, forward and backward.

use rayon::prelude::*;

use super::{LoraGradients, LoraGroup, Magnitude, Segment, Weight, missing};
use crate::ops::{OpError, ROWS_PER_TASK, check_length, matmul::Matrix};

const OPERATION: &str = "LoRA linear";
/// Outputs whose gradients one task sums; fixed, so that sums do not depend on the number of threads.
const COLUMNS_PER_TASK: usize = 128;

/// The places of the layers in `plain`.
pub(super) fn into_plain<'a>(
    plain: &'a mut [f32],
    rows: usize,
    weights: &[Weight<'_>],
) -> Result<Vec<&'a mut [f32]>, OpError> {
    let mut layers = Vec::with_capacity(weights.len());
    let mut rest = plain;
    for weight in weights {
        let length = rows * weight.rows();
        let (layer, after) =
            rest.split_at_mut_checked(length).ok_or_else(|| missing("plain outputs", length))?;
        layers.push(layer);
        rest = after;
    }
    Ok(layers)
}

/// Multiplies each segment's rows by its gains, into the outputs or added to them.
pub(super) fn add_scaled(
    layers: &[&mut [f32]],
    segments: &[Segment<'_>],
    outputs: &mut [&mut [f32]],
    accumulate: bool,
) -> Result<(), OpError> {
    let rows: usize = segments.iter().map(|segment| segment.rows).sum();
    for (index, (plain, output)) in layers.iter().zip(outputs).enumerate() {
        check_length(OPERATION, "outputs", output.len(), plain.len())?;
        let width = plain.len() / rows.max(1);
        let (mut from, mut into) = (&**plain, &mut **output);
        for Segment { rows, lora } in segments {
            let (plain, later) = from.split_at(rows * width);
            let (output, rest) = into.split_at_mut(rows * width);
            (from, into) = (later, rest);
            let magnitude = lora.as_ref().and_then(|lora| lora.magnitudes.get(index).copied().flatten());
            let gain = magnitude.map(|magnitude| magnitude.gain);
            check_length(OPERATION, "gain", gain.map_or(width, <[f32]>::len), width)?;
            scale_rows(plain, output, gain, width, accumulate);
        }
    }
    Ok(())
}

fn scale_rows(plain: &[f32], output: &mut [f32], gain: Option<&[f32]>, width: usize, accumulate: bool) {
    let task = width.max(1) * ROWS_PER_TASK;
    output.par_chunks_mut(task).zip(plain.par_chunks(task)).for_each(|(output, plain)| {
        for (output, plain) in output.chunks_exact_mut(width).zip(plain.chunks_exact(width)) {
            match (gain, accumulate) {
                (None, false) => output.copy_from_slice(plain),
                (None, true) => output.iter_mut().zip(plain).for_each(|(output, plain)| *output += plain),
                (Some(gain), false) => {
                    output
                        .iter_mut()
                        .zip(plain)
                        .zip(gain)
                        .for_each(|((output, plain), gain)| *output = plain * gain);
                }
                (Some(gain), true) => {
                    output
                        .iter_mut()
                        .zip(plain)
                        .zip(gain)
                        .for_each(|((output, plain), gain)| *output += plain * gain);
                }
            }
        }
    });
}

/// Adds the gradients of the magnitudes and answers those of the outputs before them, in `d_plain`; nothing without
/// magnitudes.
pub(super) fn backward<'a>(
    lora: &LoraGroup<'_>,
    gradients: &mut LoraGradients<'_>,
    d_outputs: &[Matrix<'a>],
    plain: &[f32],
    d_plain: &'a mut [f32],
) -> Result<Option<Vec<Matrix<'a>>>, OpError> {
    if !lora.is_scaled() {
        return Ok(None);
    }
    check_length(OPERATION, "gradients of the plain outputs", d_plain.len(), plain.len())?;
    let mut scaled = Vec::with_capacity(d_outputs.len());
    let (mut from, mut into) = (plain, d_plain);
    for (index, d_output) in d_outputs.iter().enumerate() {
        let length = d_output.rows() * d_output.columns();
        let Some((plain, later)) = from.split_at_checked(length) else {
            return Err(missing("plain outputs", length));
        };
        let (d_plain, rest) = into.split_at_mut(length);
        (from, into) = (later, rest);
        let magnitude = lora.magnitudes.get(index).copied().flatten();
        let gradient = gradients.magnitudes.get_mut(index).and_then(Option::as_deref_mut);
        let (Some(magnitude), Some(gradient)) = (magnitude, gradient) else {
            scaled.push(*d_output);
            continue;
        };
        add_gradient(*d_output, plain, magnitude, gradient);
        scale_gradient(*d_output, magnitude.gain, d_plain);
        scaled.push(Matrix::new(d_plain, d_output.rows(), d_output.columns())?);
    }
    Ok(Some(scaled))
}

/// `dm += Σ dy·plain / n` over the rows.
fn add_gradient(d_output: Matrix<'_>, plain: &[f32], magnitude: Magnitude<'_>, gradient: &mut [f32]) {
    let width = d_output.columns();
    gradient.par_chunks_mut(COLUMNS_PER_TASK).enumerate().for_each(|(task, gradient)| {
        let first = task * COLUMNS_PER_TASK;
        let mut sums = [0.0_f32; COLUMNS_PER_TASK];
        for (row, plain) in plain.chunks_exact(width).enumerate() {
            let d_row = d_output.row(row).get(first..).unwrap_or_default();
            let plain = plain.get(first..).unwrap_or_default();
            sums.iter_mut().zip(d_row.iter().zip(plain)).for_each(|(sum, (d, plain))| *sum += d * plain);
        }
        let norm = magnitude.norm.get(first..).unwrap_or_default();
        gradient.iter_mut().zip(sums).zip(norm).for_each(|((gradient, sum), norm)| *gradient += sum / norm);
    });
}

fn scale_gradient(d_output: Matrix<'_>, gain: &[f32], d_plain: &mut [f32]) {
    let width = d_output.columns().max(1);
    d_plain.par_chunks_mut(width).enumerate().for_each(|(row, d_plain)| {
        let d_row = d_output.row(row);
        d_plain.iter_mut().zip(d_row).zip(gain).for_each(|((into, d), gain)| *into = d * gain);
    });
}
