//! A block from its input to its output and back, as launches on a device.

mod linear;

use super::{
    activations::{Activations, RopeTables, Slot},
    layout::Layout,
    magnitudes::Magnitudes,
    weights::{DeviceBlock, DeviceWeights},
};
use crate::{
    cuda::{Address, Device, Element, Gemm, Operand, Rows},
    engine::{EngineError, reference::heads},
    model::ModelConfig,
    ops::{
        attention::cuda::{
            AttentionGradient, PackedAttention, Projected,
            cached::{CachedAttention, ROW_BYTES},
        },
        embedding::cuda::embed,
        gated::cuda::{gated, gated_backward},
        lora_linear::Dropout,
        rms_norm::cuda::{Norm, NormBackward},
        rope::cuda::HeadRotation,
        rows::copy,
    },
};

/// Which group of layers is meant.
const INPUT: usize = 0;
const OUTPUT: usize = 1;
const GATED: usize = 2;
const DOWN: usize = 3;

/// What a pass works with.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) device: &'a dyn Device,
    pub(super) config: &'a ModelConfig,
    pub(super) weights: &'a DeviceWeights,
    pub(super) layout: &'a Layout,
    pub(super) activations: &'a Activations,
    /// Rows of this pass.
    pub(super) rows: usize,
    /// The adapter's values, where there is one.
    pub(super) values: Option<Address>,
    /// What outputs are multiplied by, where its method has magnitudes.
    pub(super) magnitudes: Option<&'a Magnitudes>,
    /// In training: which inputs of the updates are zeroed. The key in the activations counts, not this one's.
    pub(super) dropout: Option<Dropout>,
    /// In a decoder's pass: no backward pass follows, and rows see what their sequences have gathered.
    pub(super) cached: Option<Cached>,
}

/// How the rows of a decoder's pass see keys and values of earlier passes. Rows beyond these only fill up and see nothing.
#[derive(Clone, Copy)]
pub(super) struct Cached {
    /// Where each row's keys and values go; nowhere when no later pass needs them.
    pub(super) table: Option<Address>,
    /// Rows of sequences that begin in this pass; they come first, and attend as packed documents do.
    pub(super) fresh: usize,
    /// The other rows, right behind them.
    pub(super) continued: usize,
    /// Tokens of the longest sequence.
    pub(super) longest: usize,
    /// Room for what attention over caches leaves between its kernels.
    pub(super) scratch: Address,
}

/// A layer of a pass.
#[derive(Clone, Copy)]
struct Layer<'a> {
    pass: Pass<'a>,
    index: usize,
    block: &'a DeviceBlock,
    slot: &'a Slot,
}

/// Where a product goes.
pub(super) struct Output {
    pub(super) to: Rows,
    /// What is added to it.
    pub(super) residual: Option<Rows>,
    pub(super) bias: Option<Address>,
}

impl Output {
    pub(super) fn to(to: Rows) -> Self {
        Self { to, residual: None, bias: None }
    }
}

impl Pass<'_> {
    fn norm(&self, weight: Address) -> Norm {
        Norm { weight, width: self.config.hidden_size, eps: self.config.rms_norm_eps }
    }

    /// The product of two factors, in bf16; `shape` has its rows, its columns and the width between.
    pub(super) fn multiply(
        &self,
        [rows, columns, inner]: [usize; 3],
        [left, right]: [Operand; 2],
        output: &Output,
    ) -> Result<(), EngineError> {
        Ok(self.device.multiply(&Gemm {
            m: rows,
            n: columns,
            k: inner,
            alpha: 1.0,
            a: left,
            b: right,
            c: output.residual.map(Rows::operand),
            d: output.to.operand(),
            result: Element::Bf16,
            bias: output.bias,
        })?)
    }

    /// Embeds the tokens and moves them through all blocks.
    pub(super) fn blocks_forward(&self) -> Result<(), EngineError> {
        let Self { device, config, weights, activations, rows, .. } = *self;
        let stream = activations.residual_before(0)?;
        let scale = config.variant.embedding_scale.unwrap_or(1.0);
        let (table, tokens) = (weights.embedding.address, activations.inputs.tokens);
        embed(device, stream, table, tokens, [rows, config.hidden_size], scale)?;
        (0..config.layers).try_for_each(|layer| self.forward(layer))
    }

    /// Moves the gradient of the residual stream back through all blocks.
    pub(super) fn blocks_backward(&self, gradients: Address) -> Result<(), EngineError> {
        for layer in (0..self.config.layers).rev() {
            if layer < self.activations.first_kept {
                self.forward_again(layer)?;
            }
            self.backward(layer, gradients)?;
        }
        Ok(())
    }

    fn layer(&self, layer: usize) -> Result<Layer<'_>, EngineError> {
        let block = self.weights.blocks.get(layer).ok_or(EngineError::Defect { missing: "a block" })?;
        Ok(Layer { pass: *self, index: layer, block, slot: self.activations.slot(layer)? })
    }

    /// Moves the residual stream through a block, keeping what its backward pass needs.
    pub(super) fn forward(&self, layer: usize) -> Result<(), EngineError> {
        let (input, output) =
            (self.activations.residual_before(layer)?, self.activations.residual_before(layer + 1)?);
        let layer = self.layer(layer)?;
        layer.attention(input)?;
        layer.gated(output)
    }

    /// Computes again what a block did not keep.
    pub(super) fn forward_again(&self, layer: usize) -> Result<(), EngineError> {
        let input = self.activations.residual_before(layer)?;
        let layer = self.layer(layer)?;
        layer.attention(input)?;
        layer.gated_inputs()?;
        layer.gated_outputs(None)
    }

    /// Turns the gradient of a block's output into that of its input, and adds the adapter's gradients to those at `gradients`;
    /// for the first block the former is left out.
    pub(super) fn backward(&self, layer: usize, gradients: Address) -> Result<(), EngineError> {
        let input = self.activations.residual_before(layer)?;
        let layer = self.layer(layer)?;
        layer.gated_backward(gradients)?;
        layer.attention_backward(input, gradients)
    }
}

impl Layer<'_> {
    fn rotation(&self) -> HeadRotation {
        let Pass { config, activations, .. } = self.pass;
        let windowed = config.is_windowed(self.index);
        let RopeTables { cosines, sines } =
            activations.windowed_rope.filter(|_| windowed).unwrap_or(activations.rope);
        HeadRotation {
            cosines,
            sines,
            positions: activations.inputs.positions,
            norms: self.block.head_norms,
            query_heads: config.attention_heads,
            key_heads: config.key_value_heads,
            dim: config.head_dim,
            eps: config.rms_norm_eps,
        }
    }

    fn packed(&self) -> PackedAttention {
        let Pass { config, activations, rows, .. } = self.pass;
        let heads = heads(config, self.index);
        PackedAttention { heads, rows, starts: activations.inputs.starts, ends: activations.inputs.ends }
    }

    /// Queries, keys and values in their rows.
    fn split(&self, rows: Rows) -> Projected {
        let heads = heads(self.pass.config, self.index);
        let key = rows.columns_from(heads.query_width());
        Projected { query: rows, key, value: key.columns_from(heads.key_value_width()) }
    }

    fn attend(&self) -> Result<(), EngineError> {
        let Self { pass, slot, .. } = self;
        let (device, out, projected) = (pass.device, slot.attention, self.split(slot.projected));
        let all = self.packed();
        let Some(Cached { table, fresh, continued, longest, scratch }) = pass.cached else {
            return Ok(all.forward(device, out, slot.log_sums, projected)?);
        };
        if fresh > 0 {
            PackedAttention { rows: fresh, ..all }.forward(device, out, slot.log_sums, projected)?;
        }
        let Some(table) = table else { return Ok(()) };
        let (heads, layer) = (all.heads, self.index);
        CachedAttention { heads, layer, table, rows: fresh + continued }.store(device, projected)?;
        if continued > 0 {
            let others =
                CachedAttention { heads, layer, table: table.at(fresh * ROW_BYTES), rows: continued };
            let rows = (out.rows_from(fresh), projected.query.rows_from(fresh));
            others.forward(device, rows, longest, scratch)?;
        }
        Ok(())
    }

    fn attention(&self, input: Rows) -> Result<(), EngineError> {
        let Self { pass, slot, block, .. } = self;
        let (device, rows) = (pass.device, pass.rows);
        pass.norm(block.attention_norm).forward(device, slot.attention_input, input, None, rows)?;
        let raw = slot.raw.unwrap_or(slot.projected);
        let output = Output { bias: block.bias, ..Output::to(raw) };
        self.linear(INPUT, slot.attention_input, &output)?;
        self.rotation().forward(device, slot.projected, raw, rows)?;
        self.attend()?;
        let (Some([norm, _]), Some([raw, _])) = (block.output_norms, slot.outputs) else {
            let output = Output { residual: Some(input), ..Output::to(slot.middle) };
            return self.linear(OUTPUT, slot.attention, &output);
        };
        self.linear(OUTPUT, slot.attention, &Output::to(raw))?;
        Ok(pass.norm(norm).add(device, slot.middle, input, raw, rows)?)
    }

    fn gated(&self, output: Rows) -> Result<(), EngineError> {
        self.gated_inputs()?;
        self.gated_outputs(Some(output))
    }

    fn gated_inputs(&self) -> Result<(), EngineError> {
        let Self { pass, slot, block, .. } = self;
        let (device, rows) = (pass.device, pass.rows);
        pass.norm(block.gated_norm).forward(device, slot.gated_input, slot.middle, None, rows)?;
        self.linear(GATED, slot.gated_input, &Output::to(slot.gate_up))
    }

    /// The gated activation and what follows; without `output` no more than the backward pass needs.
    fn gated_outputs(&self, output: Option<Rows>) -> Result<(), EngineError> {
        let Self { pass, slot, block, .. } = self;
        let (device, rows, config) = (pass.device, pass.rows, pass.config);
        let activated = pass.activations.activated;
        let shape = [rows, config.intermediate_size];
        gated(device, config.variant.activation, activated, slot.gate_up, shape)?;
        let group = self.group(DOWN)?;
        match (block.output_norms, slot.outputs, output) {
            (Some([_, norm]), Some([_, raw]), output) => {
                self.linear(DOWN, activated, &Output::to(raw))?;
                if let Some(output) = output {
                    pass.norm(norm).add(device, output, slot.middle, raw, rows)?;
                }
            }
            (.., Some(to)) => {
                let output = Output { residual: Some(slot.middle), ..Output::to(to) };
                self.linear(DOWN, activated, &output)?;
            }
            (.., None) if slot.plain[DOWN].is_some() => self.plain(DOWN, activated)?,
            (.., None) => {
                self.low_rank(DOWN, self.weight(DOWN, group)?, activated)?;
            }
        }
        if self.is_adapted(group) && pass.cached.is_none() {
            let low_rank = activated.columns_from(group.inputs);
            copy(device, slot.down_low_rank, low_rank, [rows, group.low_rank])?;
        }
        Ok(())
    }

    /// The gradient of an output before its normalisation, where it has one.
    fn of_output(&self, which: usize) -> Result<Rows, EngineError> {
        let Self { pass, slot, block, .. } = self;
        let Activations { d_residual, d_output, .. } = pass.activations;
        let norm = block.output_norms.and_then(|norms| norms.get(which).copied());
        let raw = slot.outputs.and_then(|outputs| outputs.get(which).copied());
        let (Some(norm), Some(x), Some(dx)) = (norm, raw, *d_output) else { return Ok(*d_residual) };
        let operands = NormBackward { dx, x, dy: *d_residual, index: None, accumulate: false };
        pass.norm(norm).backward(pass.device, operands, pass.rows)?;
        Ok(dx)
    }

    fn gated_backward(&self, gradients: Address) -> Result<(), EngineError> {
        let Self { pass, slot, block, .. } = self;
        let Activations { activated, d_residual, d_normed, .. } = *pass.activations;
        let (device, rows) = (pass.device, pass.rows);
        let dy = self.of_plain(DOWN, self.of_output(1)?, gradients)?;
        self.linear_backward(DOWN, (dy, slot.down_low_rank), Some(activated), gradients)?;
        let shape = [rows, pass.config.intermediate_size];
        gated_backward(device, pass.config.variant.activation, slot.gate_up, activated, shape)?;
        self.a_backward(DOWN, dy, activated, gradients)?;

        let x = slot.gated_input;
        let low_rank = x.columns_from(pass.config.hidden_size);
        let dy = self.of_plain(GATED, slot.gate_up, gradients)?;
        self.linear_backward(GATED, (dy, low_rank), Some(d_normed), gradients)?;
        self.a_backward(GATED, dy, x, gradients)?;
        let operands =
            NormBackward { dx: d_residual, x: slot.middle, dy: d_normed, index: None, accumulate: true };
        Ok(pass.norm(block.gated_norm).backward(device, operands, rows)?)
    }

    fn attention_backward(&self, input: Rows, gradients: Address) -> Result<(), EngineError> {
        let Self { pass, slot, block, .. } = self;
        let Activations { d_residual, d_normed, d_attention, d_projected, delta, .. } = *pass.activations;
        let (device, rows) = (pass.device, pass.rows);
        let dy = self.of_plain(OUTPUT, self.of_output(0)?, gradients)?;
        let width = self.group(OUTPUT)?.inputs;
        let low_rank = slot.attention.columns_from(width);
        self.linear_backward(OUTPUT, (dy, low_rank), Some(d_attention), gradients)?;
        self.a_backward(OUTPUT, dy, slot.attention, gradients)?;

        let operands =
            AttentionGradient { out: slot.attention, d_out: d_attention, log_sums: slot.log_sums, delta };
        let (d, projected) = (self.split(d_projected), self.split(slot.projected));
        self.packed().backward(device, d, projected, operands)?;
        self.rotation().backward(device, d_projected, slot.raw, rows)?;

        let is_first = self.index == 0;
        let x = slot.attention_input;
        let low_rank = x.columns_from(pass.config.hidden_size);
        let dx = (!is_first).then_some(d_normed);
        let dy = self.of_plain(INPUT, d_projected, gradients)?;
        self.linear_backward(INPUT, (dy, low_rank), dx, gradients)?;
        self.a_backward(INPUT, dy, x, gradients)?;
        if is_first {
            return Ok(());
        }
        let operands = NormBackward { dx: d_residual, x: input, dy: d_normed, index: None, accumulate: true };
        Ok(pass.norm(block.attention_norm).backward(device, operands, rows)?)
    }
}
