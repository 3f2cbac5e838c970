//! One decoder block, forward and backward.

use super::{
    adapter::AdapterLayout,
    buffers::{Buffer, Kept, Scratch},
    weights::{BlockWeights, heads},
};
use crate::{
    engine::EngineError,
    model::ModelConfig,
    ops::{
        OpError,
        attention::{AttentionBackward, Span, attention_backward, partial_length},
        lora_linear::{self, BackwardOperands, Segment},
        matmul::Matrix,
        rms_norm::{rms_norm, rms_norm_backward},
        rope::{RopeTable, Rotation},
        swiglu::{swiglu, swiglu_backward},
    },
};

/// An adapter's layout with its parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adapter<'a> {
    pub(super) layout: &'a AdapterLayout,
    pub(super) values: &'a [f32],
}

/// Rows of a pass under one adapter or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdaptedRows<'a> {
    pub(super) rows: usize,
    pub(super) adapter: Option<Adapter<'a>>,
}

/// What is common to all blocks of a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) rope: &'a RopeTable,
    /// Position of each row in its document or sequence.
    pub(super) positions: &'a [usize],
    /// Who adapts which rows; they cover all rows in order.
    pub(super) adapted: &'a [AdaptedRows<'a>],
}

impl<'a> Pass<'a> {
    fn rows(&self) -> usize {
        self.positions.len()
    }

    fn segments(&self, layer: usize, group: usize) -> Result<Vec<Segment<'a>>, OpError> {
        let segment = |part: &AdaptedRows<'a>| {
            let lora = match part.adapter {
                Some(adapter) => adapter.layout.group(layer, group, adapter.values)?,
                None => None,
            };
            Ok(Segment { rows: part.rows, lora })
        };
        self.adapted.iter().map(segment).collect()
    }
}

/// Values of the `x·Aᵀ` that the segments need.
fn low_rank_length(segments: &[Segment<'_>]) -> usize {
    segments.iter().map(|s| s.lora.as_ref().map_or(0, |lora| s.rows * lora.a.rows())).sum()
}

/// Queries, keys and values of a block, and where its attention goes.
pub(super) struct AttentionOperands<'a> {
    pub(super) query: &'a [f32],
    pub(super) key: &'a [f32],
    pub(super) value: &'a [f32],
    pub(super) out: &'a mut [f32],
    pub(super) log_sums: &'a mut [f32],
}

/// Moves the residual stream `hidden [rows, hidden]` through block `layer`, keeping what the backward pass needs.
///
/// `attend` decides which keys each query sees.
pub(super) fn forward(
    (layer, weights): (usize, &BlockWeights<'_>),
    pass: &Pass<'_>,
    hidden: &mut [f32],
    kept: &mut Kept,
    scratch: &mut Scratch,
    attend: impl FnOnce(AttentionOperands<'_>) -> Result<(), OpError>,
) -> Result<(), EngineError> {
    let (config, rows) = (pass.config, pass.rows());
    let heads = heads(config);
    let (query_length, key_length) = (rows * heads.query_width(), rows * heads.key_value_width());
    let [input_group, output_group, gated_group, down_group] = &weights.groups;
    let [input_low, output_low, gated_low, down_low] = &mut kept.low_rank;

    kept.input.write(hidden.len()).copy_from_slice(hidden);
    let normed = scratch.normed.write(hidden.len());
    rms_norm(hidden, weights.attention_norm, config.rms_norm_eps, normed)?;
    let segments = pass.segments(layer, 0)?;
    let query = kept.query.write(query_length);
    let (key, value) = (kept.key.write(key_length), kept.value.write(key_length));
    let low_rank = input_low.write(low_rank_length(&segments));
    let x = Matrix::new(normed, rows, config.hidden_size)?;
    lora_linear::forward(x, input_group, &segments, low_rank, &mut [query, key, value], false)?;
    pass.rope.rotate(query, pass.positions, Rotation::Forward)?;
    pass.rope.rotate(key, pass.positions, Rotation::Forward)?;
    let (out, log_sums) = (kept.attention.write(query_length), kept.log_sums.write(rows * heads.query));
    attend(AttentionOperands { query, key, value, out, log_sums })?;
    let segments = pass.segments(layer, 1)?;
    let low_rank = output_low.write(low_rank_length(&segments));
    let x = Matrix::new(out, rows, heads.query_width())?;
    lora_linear::forward(x, output_group, &segments, low_rank, &mut [hidden], true)?;

    kept.middle.write(hidden.len()).copy_from_slice(hidden);
    rms_norm(hidden, weights.gated_norm, config.rms_norm_eps, normed)?;
    let inner_length = rows * config.intermediate_size;
    let (gate, up) = (kept.gate.write(inner_length), kept.up.write(inner_length));
    let segments = pass.segments(layer, 2)?;
    let low_rank = gated_low.write(low_rank_length(&segments));
    let x = Matrix::new(normed, rows, config.hidden_size)?;
    lora_linear::forward(x, gated_group, &segments, low_rank, &mut [gate, up], false)?;
    let activated = scratch.activated.write(inner_length);
    swiglu(gate, up, activated)?;
    let segments = pass.segments(layer, 3)?;
    let low_rank = down_low.write(low_rank_length(&segments));
    let x = Matrix::new(activated, rows, config.intermediate_size)?;
    Ok(lora_linear::forward(x, down_group, &segments, low_rank, &mut [hidden], true)?)
}

/// What the backward pass of a block needs besides its activations.
pub(super) struct BackwardPass<'a> {
    pub(super) pass: Pass<'a>,
    pub(super) adapter: Adapter<'a>,
    /// Length of each document.
    pub(super) documents: &'a [usize],
}

/// Adds the gradients of block `layer`'s adapter to `gradients` and turns `d_hidden`, the gradient of the block's output, into
/// that of its input. For block 0 that last part is left out: nothing before it learns.
///
/// Overwrites the gate and up projections in `kept`.
pub(super) fn backward(
    (layer, weights): (usize, &BlockWeights<'_>),
    context: &BackwardPass<'_>,
    d_hidden: &mut [f32],
    kept: &mut Kept,
    scratch: &mut Scratch,
    gradients: &mut [f32],
) -> Result<(), EngineError> {
    gated_backward((layer, weights), context, d_hidden, kept, scratch, gradients)?;
    attention_part_backward((layer, weights), context, d_hidden, kept, scratch, gradients)
}

fn gated_backward(
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
    let [_, _, gated_low, down_low] = &kept.low_rank;
    let (gate, up) = (kept.gate.write(inner_length), kept.up.write(inner_length));
    let activated = scratch.activated.write(inner_length);
    let d_activated = scratch.d_activated.write(inner_length);
    swiglu(gate, up, activated)?;
    let linear =
        LinearBackward { context, layer, group: 3, low_rank: down_low, scratch: &mut scratch.d_low_rank };
    let d_outputs = [Matrix::new(d_hidden, rows, config.hidden_size)?];
    let x = Matrix::new(activated, rows, config.intermediate_size)?;
    linear.run(x, down_group, &d_outputs, Some(d_activated), gradients)?;
    swiglu_backward(gate, up, d_activated)?;

    let middle = kept.middle.read(hidden_length);
    let normed = scratch.normed.write(hidden_length);
    let d_normed = scratch.d_normed.write(hidden_length);
    rms_norm(middle, weights.gated_norm, config.rms_norm_eps, normed)?;
    let linear =
        LinearBackward { context, layer, group: 2, low_rank: gated_low, scratch: &mut scratch.d_low_rank };
    let d_outputs = [
        Matrix::new(gate, rows, config.intermediate_size)?,
        Matrix::new(up, rows, config.intermediate_size)?,
    ];
    let x = Matrix::new(normed, rows, config.hidden_size)?;
    linear.run(x, gated_group, &d_outputs, Some(d_normed), gradients)?;
    Ok(rms_norm_backward(middle, weights.gated_norm, config.rms_norm_eps, d_normed, d_hidden)?)
}

fn attention_part_backward(
    (layer, weights): (usize, &BlockWeights<'_>),
    context: &BackwardPass<'_>,
    d_hidden: &mut [f32],
    kept: &mut Kept,
    scratch: &mut Scratch,
    gradients: &mut [f32],
) -> Result<(), EngineError> {
    let (config, rows) = (context.pass.config, context.pass.rows());
    let heads = heads(config);
    let (query_length, key_length) = (rows * heads.query_width(), rows * heads.key_value_width());
    let [input_group, output_group, ..] = &weights.groups;
    let [input_low, output_low, ..] = &kept.low_rank;
    let d_attention = scratch.d_attention.write(query_length);
    let linear =
        LinearBackward { context, layer, group: 1, low_rank: output_low, scratch: &mut scratch.d_low_rank };
    let d_outputs = [Matrix::new(d_hidden, rows, config.hidden_size)?];
    let x = Matrix::new(kept.attention.read(query_length), rows, heads.query_width())?;
    linear.run(x, output_group, &d_outputs, Some(d_attention), gradients)?;

    let d_query = scratch.d_query.write(query_length);
    let (d_key, d_value) = (scratch.d_key.write(key_length), scratch.d_value.write(key_length));
    let spans =
        document_spans(config, context.documents, kept.key.read(key_length), kept.value.read(key_length))?;
    let operands = AttentionBackward {
        queries: kept.query.read(query_length),
        out: kept.attention.read(query_length),
        d_out: d_attention,
        log_sums: kept.log_sums.read(rows * heads.query),
        partial: scratch.partial.write(partial_length(heads, rows)),
        d_queries: d_query,
        d_keys: d_key,
        d_values: d_value,
    };
    attention_backward(heads, &spans, operands)?;
    context.pass.rope.rotate(d_query, context.pass.positions, Rotation::Backward)?;
    context.pass.rope.rotate(d_key, context.pass.positions, Rotation::Backward)?;

    let input = kept.input.read(d_hidden.len());
    let normed = scratch.normed.write(d_hidden.len());
    rms_norm(input, weights.attention_norm, config.rms_norm_eps, normed)?;
    let d_normed = scratch.d_normed.write(d_hidden.len());
    let linear =
        LinearBackward { context, layer, group: 0, low_rank: input_low, scratch: &mut scratch.d_low_rank };
    let d_outputs = [
        Matrix::new(d_query, rows, heads.query_width())?,
        Matrix::new(d_key, rows, heads.key_value_width())?,
        Matrix::new(d_value, rows, heads.key_value_width())?,
    ];
    let x = Matrix::new(normed, rows, config.hidden_size)?;
    if layer == 0 {
        return linear.run(x, input_group, &d_outputs, None, gradients);
    }
    linear.run(x, input_group, &d_outputs, Some(&mut *d_normed), gradients)?;
    Ok(rms_norm_backward(input, weights.attention_norm, config.rms_norm_eps, d_normed, d_hidden)?)
}

/// The backward pass of one group of layers.
struct LinearBackward<'a> {
    context: &'a BackwardPass<'a>,
    layer: usize,
    group: usize,
    low_rank: &'a Buffer,
    scratch: &'a mut Buffer,
}

impl LinearBackward<'_> {
    fn run(
        self,
        x: Matrix<'_>,
        weights: &[Matrix<'_>],
        d_outputs: &[Matrix<'_>],
        dx: Option<&mut [f32]>,
        gradients: &mut [f32],
    ) -> Result<(), EngineError> {
        let Adapter { layout, values } = self.context.adapter;
        let length = x.rows() * layout.low_rank_width(self.group);
        let lora = layout.group(self.layer, self.group, values)?;
        let gradients = layout.gradients(self.layer, self.group, gradients)?;
        let (low_rank, d_low_rank) = (self.low_rank.read(length), self.scratch.write(length));
        let operands = BackwardOperands { x, low_rank, d_outputs, d_low_rank, dx };
        Ok(lora_linear::backward(weights, lora.as_ref(), gradients, operands)?)
    }
}

/// Spans of packed documents: each sees itself alone.
pub(super) fn document_spans<'a>(
    config: &ModelConfig,
    documents: &[usize],
    keys: &'a [f32],
    values: &'a [f32],
) -> Result<Vec<Span<'a>>, OpError> {
    let (heads, total) = (heads(config), documents.iter().sum());
    let keys = Matrix::new(keys, total, heads.key_value_width())?;
    let values = Matrix::new(values, total, heads.key_value_width())?;
    let mut start = 0;
    let mut spans = Vec::with_capacity(documents.len());
    for rows in documents.iter().copied() {
        spans.push(Span { rows, keys: keys.row_range(start, rows)?, values: values.row_range(start, rows)? });
        start += rows;
    }
    Ok(spans)
}
