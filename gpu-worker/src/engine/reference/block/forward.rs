//! A block from its input to its output.

use super::{
    super::{
        buffers::{Buffer, GroupKept, Kept, LinearScratch, Scratch},
        weights::{BlockWeights, Frozen, blocks, full, heads},
    },
    Pass, dropped,
};
use crate::{
    engine::EngineError,
    ops::{
        OpError,
        gated::gated,
        lora_linear::{self, ForwardBuffers, Inputs, Segment, Weight, plain_length},
        matmul::Matrix,
        rms_norm::rms_norm,
        rope::Rotation,
    },
};

/// Queries, keys and values of a block, and where its attention goes.
pub(in crate::engine::reference) struct AttentionOperands<'a> {
    pub(in crate::engine::reference) query: &'a [f32],
    pub(in crate::engine::reference) key: &'a [f32],
    pub(in crate::engine::reference) value: &'a [f32],
    pub(in crate::engine::reference) out: &'a mut [f32],
    pub(in crate::engine::reference) log_sums: &'a mut [f32],
}

/// Moves the residual stream `hidden [rows, hidden]` through block `layer`, keeping what the backward pass needs.
///
/// `attend` decides which keys each query sees.
pub(in crate::engine::reference) fn forward(
    (layer, weights): (usize, &BlockWeights<'_>),
    pass: &Pass<'_>,
    hidden: &mut [f32],
    kept: &mut Kept,
    scratch: &mut Scratch,
    attend: impl FnOnce(AttentionOperands<'_>) -> Result<(), OpError>,
) -> Result<(), EngineError> {
    attention_part((layer, weights), pass, hidden, kept, scratch, attend)?;
    gated_part((layer, weights), pass, hidden, kept, scratch)
}

fn attention_part(
    (layer, weights): (usize, &BlockWeights<'_>),
    pass: &Pass<'_>,
    hidden: &mut [f32],
    kept: &mut Kept,
    scratch: &mut Scratch,
    attend: impl FnOnce(AttentionOperands<'_>) -> Result<(), OpError>,
) -> Result<(), EngineError> {
    let (config, rows) = (pass.config, pass.rows());
    let heads = heads(config, layer);
    let (query_length, key_length) = (rows * heads.query_width(), rows * heads.key_value_width());
    let [input_group, output_group, ..] = &weights.groups;
    let [input_kept, output_kept, ..] = &mut kept.groups;
    kept.input.write(hidden.len()).copy_from_slice(hidden);
    let normed = scratch.normed.write(hidden.len());
    rms_norm(hidden, weights.attention_norm, config.rms_norm_eps, normed)?;
    let query = kept.query.write(query_length);
    let (key, value) = (kept.key.write(key_length), kept.value.write(key_length));
    let linear = Linear { pass, layer, group: 0, layers: input_group };
    linear.run(normed, input_kept, &mut scratch.linear, &mut [query, key, value], false)?;
    if let Some([query_bias, key_bias, value_bias]) = weights.biases {
        add_bias(query, query_bias);
        add_bias(key, key_bias);
        add_bias(value, value_bias);
    }
    if let Some([query_norm, key_norm]) = weights.head_norms {
        for (values, raw, norm) in
            [(&mut *query, &mut kept.raw_query, query_norm), (&mut *key, &mut kept.raw_key, key_norm)]
        {
            let raw = raw.write(values.len());
            raw.copy_from_slice(values);
            rms_norm(raw, norm, config.rms_norm_eps, values)?;
        }
    }
    let rope = pass.rope.of(config.is_windowed(layer));
    rope.rotate(query, pass.positions, Rotation::Forward)?;
    rope.rotate(key, pass.positions, Rotation::Forward)?;
    let (out, log_sums) = (kept.attention.write(query_length), kept.log_sums.write(rows * heads.query));
    attend(AttentionOperands { query, key, value, out, log_sums })?;
    let linear = Linear { pass, layer, group: 1, layers: output_group };
    let [output, _] = &mut kept.outputs;
    let norm = weights.output_norms.map(|[norm, _]| norm);
    linear.add(out, output_kept, (norm, output, normed), &mut scratch.linear, hidden)
}

fn gated_part(
    (layer, weights): (usize, &BlockWeights<'_>),
    pass: &Pass<'_>,
    hidden: &mut [f32],
    kept: &mut Kept,
    scratch: &mut Scratch,
) -> Result<(), EngineError> {
    let (config, rows) = (pass.config, pass.rows());
    let [_, _, gated_group, down_group] = &weights.groups;
    let [_, _, gated_kept, down_kept] = &mut kept.groups;
    kept.middle.write(hidden.len()).copy_from_slice(hidden);
    let normed = scratch.normed.write(hidden.len());
    rms_norm(hidden, weights.gated_norm, config.rms_norm_eps, normed)?;
    let inner_length = rows * config.intermediate_size;
    let (gate, up) = (kept.gate.write(inner_length), kept.up.write(inner_length));
    let linear = Linear { pass, layer, group: 2, layers: gated_group };
    linear.run(normed, gated_kept, &mut scratch.linear, &mut [gate, up], false)?;
    let activated = scratch.activated.write(inner_length);
    gated(config.variant.activation, gate, up, activated)?;
    let linear = Linear { pass, layer, group: 3, layers: down_group };
    let [_, output] = &mut kept.outputs;
    let norm = weights.output_norms.map(|[_, norm]| norm);
    linear.add(activated, down_kept, (norm, output, normed), &mut scratch.linear, hidden)
}

/// One group of layers in a pass.
struct Linear<'a> {
    pass: &'a Pass<'a>,
    layer: usize,
    group: usize,
    layers: &'a [Frozen<'a>],
}

impl Linear<'_> {
    /// Width of all outputs together.
    fn outputs(&self) -> usize {
        self.layers.iter().map(|layer| layer.shape()[0]).sum()
    }

    fn run(
        &self,
        x: &[f32],
        kept: &mut GroupKept,
        scratch: &mut LinearScratch,
        outputs: &mut [&mut [f32]],
        accumulate: bool,
    ) -> Result<(), EngineError> {
        let segments = self.pass.segments(self.layer, self.group)?;
        let LinearScratch { weights, dropped: buffer, .. } = scratch;
        let rows = self.pass.rows();
        let weights = match blocks(self.layers) {
            Some(blocks) if self.pass.rounded => blocks.into_iter().map(Weight::Blocks).collect(),
            Some(_) | None => full(self.layers, weights)?.into_iter().map(Weight::Full).collect::<Vec<_>>(),
        };
        let matrix = |values| Matrix::new(values, rows, values.len() / rows.max(1));
        let dropped = dropped(self.pass.dropout(self.layer, self.group), x, buffer);
        let inputs = Inputs { x: matrix(x)?, dropped: dropped.map(matrix).transpose()? };
        let buffers = ForwardBuffers {
            low_rank: kept.low_rank.write(low_rank_length(&segments)),
            plain: kept.plain.write(plain_length(self.outputs(), &segments)),
        };
        Ok(lora_linear::forward(inputs, &weights, &segments, buffers, outputs, accumulate)?)
    }

    /// Adds the output to the residual stream; with a norm it is kept as it is and added normalised.
    fn add(
        &self,
        x: &[f32],
        kept: &mut GroupKept,
        (norm, output, normed): (Option<&[f32]>, &mut Buffer, &mut [f32]),
        scratch: &mut LinearScratch,
        hidden: &mut [f32],
    ) -> Result<(), EngineError> {
        let Some(norm) = norm else { return self.run(x, kept, scratch, &mut [hidden], true) };
        let output = output.write(hidden.len());
        self.run(x, kept, scratch, &mut [&mut *output], false)?;
        rms_norm(output, norm, self.pass.config.rms_norm_eps, normed)?;
        add(hidden, normed);
        Ok(())
    }
}

/// Values of the `x·Aᵀ` that the segments need.
fn low_rank_length(segments: &[Segment<'_>]) -> usize {
    segments.iter().map(|s| s.lora.as_ref().map_or(0, |lora| s.rows * lora.a.rows())).sum()
}

/// Adds a bias to every row.
fn add_bias(rows: &mut [f32], bias: &[f32]) {
    for row in rows.chunks_exact_mut(bias.len().max(1)) {
        add(row, bias);
    }
}

fn add(into: &mut [f32], values: &[f32]) {
    into.iter_mut().zip(values).for_each(|(into, value)| *into += value);
}
