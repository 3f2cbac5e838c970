//! A block from the gradient of its output to that of its input, and to the gradients of its adapter.

use super::{
    super::{
        buffers::{Buffer, GroupKept, Kept, LinearScratch, Scratch},
        weights::{BlockWeights, Frozen, full, heads},
    },
    Adapter, Pass, document_spans, dropped,
};
use crate::{
    engine::EngineError,
    ops::{
        attention::{AttentionBackward, attention_backward, partial_length},
        gated::{gated, gated_backward},
        lora_linear::{self, BackwardOperands, Inputs, Segment, plain_length},
        matmul::Matrix,
        rms_norm::{rms_norm, rms_norm_backward},
        rope::Rotation,
    },
};

/// What the backward pass of a block needs besides its activations.
pub(in crate::engine::reference) struct BackwardPass<'a> {
    pub(in crate::engine::reference) pass: Pass<'a>,
    pub(in crate::engine::reference) adapter: Adapter<'a>,
    /// Length of each document.
    pub(in crate::engine::reference) documents: &'a [usize],
}

/// Adds the gradients of block `layer`'s adapter to `gradients` and turns `d_hidden`, the gradient of the block's output, into
/// that of its input. For block 0 that last part is left out: nothing before it learns.
///
/// Overwrites the gate and up projections in `kept`.
pub(in crate::engine::reference) fn backward(
    (layer, weights): (usize, &BlockWeights<'_>),
    context: &BackwardPass<'_>,
    d_hidden: &mut [f32],
    kept: &mut Kept,
    scratch: &mut Scratch,
    gradients: &mut [f32],
) -> Result<(), EngineError> {
    gated_part((layer, weights), context, d_hidden, kept, scratch, gradients)?;
    output_part((layer, weights), context, d_hidden, kept, scratch, gradients)?;
    attention_part((layer, weights), context, kept, scratch)?;
    input_part((layer, weights), context, d_hidden, kept, scratch, gradients)
}

fn gated_part(
    (layer, weights): (usize, &BlockWeights<'_>),
    context: &BackwardPass<'_>,
    d_hidden: &mut [f32],
    kept: &mut Kept,
    scratch: &mut Scratch,
    gradients: &mut [f32],
) -> Result<(), EngineError> {
    let (config, rows) = (context.pass.config, context.pass.rows());
    let (hidden_length, inner_length) = (d_hidden.len(), rows * config.intermediate_size);
    let [_, _, gated_group, down_group] = &weights.groups;
    let [_, _, gated_kept, down_kept] = &kept.groups;
    let (gate, up) = (kept.gate.write(inner_length), kept.up.write(inner_length));
    let activated = scratch.activated.write(inner_length);
    let d_activated = scratch.d_activated.write(inner_length);
    gated(config.variant.activation, gate, up, activated)?;
    let [_, output] = &kept.outputs;
    let norm = weights.output_norms.map(|[_, norm]| norm);
    let d_output = of_output(norm, config.rms_norm_eps, output, d_hidden, &mut scratch.d_normed)?;
    let d_outputs = [Matrix::new(d_output, rows, config.hidden_size)?];
    let linear = LinearBackward { context, layer, group: 3, layers: down_group, kept: down_kept };
    linear.run(activated, &d_outputs, Some(d_activated), &mut scratch.linear, gradients)?;
    gated_backward(config.variant.activation, gate, up, d_activated)?;

    let middle = kept.middle.read(hidden_length);
    let normed = scratch.normed.write(hidden_length);
    let d_normed = scratch.d_normed.write(hidden_length);
    rms_norm(middle, weights.gated_norm, config.rms_norm_eps, normed)?;
    let d_outputs = [
        Matrix::new(gate, rows, config.intermediate_size)?,
        Matrix::new(up, rows, config.intermediate_size)?,
    ];
    let linear = LinearBackward { context, layer, group: 2, layers: gated_group, kept: gated_kept };
    linear.run(normed, &d_outputs, Some(d_normed), &mut scratch.linear, gradients)?;
    Ok(rms_norm_backward(middle, weights.gated_norm, config.rms_norm_eps, d_normed, d_hidden)?)
}

/// From the gradient after attention's projection to the one before it, in `scratch.d_attention`.
fn output_part(
    (layer, weights): (usize, &BlockWeights<'_>),
    context: &BackwardPass<'_>,
    d_hidden: &[f32],
    kept: &Kept,
    scratch: &mut Scratch,
    gradients: &mut [f32],
) -> Result<(), EngineError> {
    let (config, rows) = (context.pass.config, context.pass.rows());
    let width = heads(config, layer).query_width();
    let [_, output_group, ..] = &weights.groups;
    let [_, output_kept, ..] = &kept.groups;
    let [output, _] = &kept.outputs;
    let norm = weights.output_norms.map(|[norm, _]| norm);
    let d_output = of_output(norm, config.rms_norm_eps, output, d_hidden, &mut scratch.d_normed)?;
    let d_outputs = [Matrix::new(d_output, rows, config.hidden_size)?];
    let x = kept.attention.read(rows * width);
    let d_attention = scratch.d_attention.write(rows * width);
    let linear = LinearBackward { context, layer, group: 1, layers: output_group, kept: output_kept };
    linear.run(x, &d_outputs, Some(d_attention), &mut scratch.linear, gradients)
}

/// From attention's output to queries, keys and values as their projections gave them.
fn attention_part(
    (layer, weights): (usize, &BlockWeights<'_>),
    context: &BackwardPass<'_>,
    kept: &Kept,
    scratch: &mut Scratch,
) -> Result<(), EngineError> {
    let (config, rows) = (context.pass.config, context.pass.rows());
    let heads = heads(config, layer);
    let (query_length, key_length) = (rows * heads.query_width(), rows * heads.key_value_width());
    let d_query = scratch.d_query.write(query_length);
    let d_key = scratch.d_key.write(key_length);
    let spans =
        document_spans(heads, context.documents, kept.key.read(key_length), kept.value.read(key_length))?;
    let operands = AttentionBackward {
        queries: kept.query.read(query_length),
        out: kept.attention.read(query_length),
        d_out: scratch.d_attention.read(query_length),
        log_sums: kept.log_sums.read(rows * heads.query),
        partial: scratch.partial.write(partial_length(heads, rows)),
        d_queries: d_query,
        d_keys: d_key,
        d_values: scratch.d_value.write(key_length),
    };
    attention_backward(heads, &spans, operands)?;
    let rope = context.pass.rope.of(config.is_windowed(layer));
    rope.rotate(d_query, context.pass.positions, Rotation::Backward)?;
    rope.rotate(d_key, context.pass.positions, Rotation::Backward)?;
    let Some([query_norm, key_norm]) = weights.head_norms else { return Ok(()) };
    for (d_values, raw, norm) in [(d_query, &kept.raw_query, query_norm), (d_key, &kept.raw_key, key_norm)] {
        // The gradient of attention's output is not needed any more.
        let d_normed = scratch.d_attention.write(d_values.len());
        d_normed.copy_from_slice(d_values);
        d_values.fill(0.0);
        rms_norm_backward(raw.read(d_values.len()), norm, config.rms_norm_eps, d_normed, d_values)?;
    }
    Ok(())
}

fn input_part(
    (layer, weights): (usize, &BlockWeights<'_>),
    context: &BackwardPass<'_>,
    d_hidden: &mut [f32],
    kept: &Kept,
    scratch: &mut Scratch,
    gradients: &mut [f32],
) -> Result<(), EngineError> {
    let (config, rows) = (context.pass.config, context.pass.rows());
    let heads = heads(config, layer);
    let (query_length, key_length) = (rows * heads.query_width(), rows * heads.key_value_width());
    let [input_group, ..] = &weights.groups;
    let [input_kept, ..] = &kept.groups;
    let input = kept.input.read(d_hidden.len());
    let normed = scratch.normed.write(d_hidden.len());
    rms_norm(input, weights.attention_norm, config.rms_norm_eps, normed)?;
    let d_normed = scratch.d_normed.write(d_hidden.len());
    let d_outputs = [
        Matrix::new(scratch.d_query.read(query_length), rows, heads.query_width())?,
        Matrix::new(scratch.d_key.read(key_length), rows, heads.key_value_width())?,
        Matrix::new(scratch.d_value.read(key_length), rows, heads.key_value_width())?,
    ];
    let linear = LinearBackward { context, layer, group: 0, layers: input_group, kept: input_kept };
    if layer == 0 {
        return linear.run(normed, &d_outputs, None, &mut scratch.linear, gradients);
    }
    linear.run(normed, &d_outputs, Some(&mut *d_normed), &mut scratch.linear, gradients)?;
    Ok(rms_norm_backward(input, weights.attention_norm, config.rms_norm_eps, d_normed, d_hidden)?)
}

/// The gradient of what was added to the residual stream, before it was normalised, if it was.
fn of_output<'a>(
    norm: Option<&[f32]>,
    eps: f32,
    output: &Buffer,
    d_hidden: &'a [f32],
    d_output: &'a mut Buffer,
) -> Result<&'a [f32], EngineError> {
    let Some(norm) = norm else { return Ok(d_hidden) };
    let d_output = d_output.write(d_hidden.len());
    d_output.fill(0.0);
    rms_norm_backward(output.read(d_hidden.len()), norm, eps, d_hidden, d_output)?;
    Ok(d_output)
}

/// The backward pass of one group of layers.
struct LinearBackward<'a> {
    context: &'a BackwardPass<'a>,
    layer: usize,
    group: usize,
    layers: &'a [Frozen<'a>],
    kept: &'a GroupKept,
}

impl LinearBackward<'_> {
    fn run(
        self,
        x: &[f32],
        d_outputs: &[Matrix<'_>],
        dx: Option<&mut [f32]>,
        scratch: &mut LinearScratch,
        gradients: &mut [f32],
    ) -> Result<(), EngineError> {
        let LinearScratch { d_low_rank, d_plain, weights, dropped: buffer, d_dropped } = scratch;
        let weights = full(self.layers, weights)?;
        let (pass, adapter) = (&self.context.pass, self.context.adapter);
        let rows = pass.rows();
        let matrix = |values| Matrix::new(values, rows, values.len() / rows.max(1));
        let dropout = pass.dropout(self.layer, self.group);
        let dropped = dropped(dropout, x, buffer);
        let inputs = Inputs { x: matrix(x)?, dropped: dropped.map(matrix).transpose()? };
        let dropout = dropout.map(|dropout| (dropout, d_dropped.write(x.len())));
        let length = rows * adapter.layout.low_rank_width(self.group);
        let gradients = adapter.layout.gradients(self.layer, self.group, gradients)?;
        let (low_rank, d_low_rank) = (self.kept.low_rank.read(length), d_low_rank.write(length));
        let segments = [Segment { rows, lora: adapter.group(self.layer, self.group)? }];
        let length = plain_length(weights.iter().map(|weight| weight.rows()).sum(), &segments);
        let (plain, d_plain) = (self.kept.plain.read(length), d_plain.write(length));
        let operands =
            BackwardOperands { inputs, low_rank, d_outputs, d_low_rank, plain, d_plain, dx, dropout };
        let [Segment { lora, .. }] = &segments;
        Ok(lora_linear::backward(&weights, lora.as_ref(), gradients, operands)?)
    }
}
