//! A group of layers that read the same input, forward and backward.

use super::{
    super::{
        activations::{Activations, DropoutRoom},
        layout::{Group, Member},
        magnitudes::OfGroup,
    },
    Layer, Output, Pass,
};
use crate::{
    cuda::{Address, Element, Gemm, Operand, Rows},
    engine::{EngineError, reference::GROUPS},
    ops::lora_linear::cuda::{
        DeviceDropout, LowRankABackward, LowRankBackward, LowRankGradients, LowRankLayer, MagnitudeGradient,
        ScaledColumns, has_low_rank_forward, low_rank_forward,
    },
};

/// Widest input of such a group.
const NARROW: usize = 2048;

/// Whether a group's `x·Aᵀ` and the gradient of its `A` are faster by kernels of ours than by cuBLASLt.
fn is_narrow(group: &Group) -> bool {
    group.inputs <= NARROW && has_low_rank_forward(group.low_rank)
}

impl<'a> Layer<'a> {
    pub(super) fn group(&self, index: usize) -> Result<&'a Group, EngineError> {
        self.pass.layout.group(self.index, index)
    }

    pub(super) fn is_adapted(&self, group: &Group) -> bool {
        self.pass.values.is_some() && group.low_rank > 0
    }

    /// The weights of a group with the adapter in their margins.
    pub(super) fn weight(&self, index: usize, group: &Group) -> Result<Rows, EngineError> {
        let Pass { device, weights, values, .. } = self.pass;
        weights.group(device, (self.index, index), group, values)
    }

    /// Under dropout its stream for a group, and room for rows of the group's input.
    fn dropout(&self, index: usize) -> Option<(DeviceDropout, Rows)> {
        let DropoutRoom { key, rows } = self.pass.activations.dropout?;
        let stream = self.index * GROUPS.len() + index;
        Some((DeviceDropout::new(self.pass.dropout?, key, stream), rows))
    }

    /// What the updates of a group read of its input.
    fn dropped(&self, index: usize, x: Rows) -> Result<Rows, EngineError> {
        let Some((dropout, rows)) = self.dropout(index) else { return Ok(x) };
        dropout.apply(self.pass.device, x, rows, [self.pass.rows, self.group(index)?.inputs])?;
        Ok(rows)
    }

    /// Writes `x·Aᵀ` behind the columns of `x`; returns the width of both together.
    pub(super) fn low_rank(&self, index: usize, weight: Rows, x: Rows) -> Result<usize, EngineError> {
        let group = self.group(index)?;
        if !self.is_adapted(group) {
            return Ok(group.inputs);
        }
        let a = weight.rows_from(group.outputs);
        let low_rank = x.columns_from(group.inputs);
        let x = self.dropped(index, x)?;
        let shape = [self.pass.rows, group.inputs, group.low_rank];
        if is_narrow(group) {
            low_rank_forward(self.pass.device, low_rank, [x, a], shape)?;
            return Ok(group.widened_inputs());
        }
        let shape = [self.pass.rows, group.low_rank, group.inputs];
        let factors = [x.operand(), a.transposed()];
        self.pass.multiply(shape, factors, &Output::to(low_rank))?;
        Ok(group.widened_inputs())
    }

    /// One group of layers; `x` has room for `x·Aᵀ` behind its columns.
    pub(super) fn linear(&self, index: usize, x: Rows, output: &Output) -> Result<(), EngineError> {
        let (pass, group) = (&self.pass, self.group(index)?);
        let Some((plain, OfGroup { gains, .. }, _)) = self.magnitudes(index, group) else {
            return self.product(index, x, output);
        };
        self.product(index, x, &Output::to(plain))?;
        let Output { to: out, residual, bias } = *output;
        let scaled = ScaledColumns { out, plain, gains, bias, residual };
        Ok(scaled.forward(pass.device, [pass.rows, group.outputs])?)
    }

    /// The outputs of a group before their magnitudes, and nothing else; where it has any.
    pub(super) fn plain(&self, index: usize, x: Rows) -> Result<(), EngineError> {
        let magnitudes = self.magnitudes(index, self.group(index)?);
        magnitudes.map_or(Ok(()), |(plain, ..)| self.product(index, x, &Output::to(plain)))
    }

    fn product(&self, index: usize, x: Rows, output: &Output) -> Result<(), EngineError> {
        let (pass, group) = (&self.pass, self.group(index)?);
        let weight = self.weight(index, group)?;
        let shape = [pass.rows, group.outputs, self.low_rank(index, weight, x)?];
        pass.multiply(shape, [x.operand(), weight.transposed()], output)
    }

    /// Of a group whose outputs have magnitudes: the outputs before them, what they are multiplied by, and where the magnitudes
    /// begin among the adapter's values.
    fn magnitudes(&self, index: usize, group: &Group) -> Option<(Rows, OfGroup, usize)> {
        let magnitudes = group.magnitudes?;
        let plain = self.slot.plain.get(index).copied().flatten()?;
        Some((plain, self.pass.magnitudes?.of_group(magnitudes), magnitudes.from))
    }

    /// Turns the gradient of a group's outputs into that before their magnitudes, where they have any, and adds the magnitudes'
    /// own. The gradient of the residual stream stays as it is, for what bypasses the group.
    pub(super) fn of_plain(&self, index: usize, dy: Rows, gradients: Address) -> Result<Rows, EngineError> {
        let (pass, group) = (&self.pass, self.group(index)?);
        let Some((plain, OfGroup { gains, norms, .. }, from)) = self.magnitudes(index, group) else {
            return Ok(dy);
        };
        let Activations { d_residual, d_output, column_sums, .. } = *pass.activations;
        let d_plain = d_output.filter(|_| dy == d_residual).unwrap_or(dy);
        let d_magnitudes = gradients.at(from * Element::F32.bytes());
        let gradient =
            MagnitudeGradient { d_plain, d_out: dy, plain, gains, norms, d_magnitudes, scratch: column_sums };
        gradient.backward(pass.device, [pass.rows, group.outputs])?;
        Ok(d_plain)
    }

    /// From the gradient `dy` of a group's output, with room behind it, to the gradients of `B` and of the input.
    pub(super) fn linear_backward(
        &self,
        index: usize,
        (dy, low_rank): (Rows, Rows),
        dx: Option<Rows>,
        gradients: Address,
    ) -> Result<(), EngineError> {
        let (pass, group) = (&self.pass, self.group(index)?);
        let weight = self.weight(index, group)?;
        let mut inner = group.outputs;
        if self.is_adapted(group) {
            self.low_rank_backward(group, weight, (dy, low_rank), gradients)?;
            inner = group.outputs + group.low_rank;
        }
        let Some(dx) = dx else { return Ok(()) };
        let dropout = self.dropout(index).filter(|_| self.is_adapted(group));
        if dropout.is_some() {
            inner = group.outputs;
        }
        let shape = [pass.rows, group.inputs, inner];
        pass.multiply(shape, [dy.operand(), weight.operand()], &Output::to(dx))?;
        let Some((dropout, d_dropped)) = dropout else { return Ok(()) };
        let factors = [dy.columns_from(group.outputs), weight.rows_from(group.outputs)].map(Rows::operand);
        pass.multiply([pass.rows, group.inputs, group.low_rank], factors, &Output::to(d_dropped))?;
        Ok(dropout.add_backward(pass.device, d_dropped, dx, [pass.rows, group.inputs])?)
    }

    /// Writes the gradient of `x·Aᵀ` behind the columns of `dy`, and adds the gradients of each `B`.
    fn low_rank_backward(
        &self,
        group: &Group,
        weight: Rows,
        (dy, low_rank): (Rows, Rows),
        gradients: Address,
    ) -> Result<(), EngineError> {
        let (pass, rank) = (&self.pass, self.pass.layout.rank);
        let (b, d_low_rank) = (weight.columns_from(group.inputs), dy.columns_from(group.outputs));
        let d_b = |from: usize| gradients.at(from * Element::F32.bytes());
        if let Some(scratch) = pass.activations.low_rank_sums {
            let layer = |member: &Member| {
                let (from, place) = member.b?;
                let (output, width, column) = (member.output, member.width, place * rank);
                Some(LowRankLayer { output, width, column, d_b: d_b(from) })
            };
            let layers: Vec<_> = group.members.iter().filter_map(layer).collect();
            let kernel = LowRankBackward { rows: pass.rows, rank, scale: self.scale(), layers: &layers };
            let operands = LowRankGradients { dy, ds: d_low_rank, s: low_rank, b, scratch };
            return Ok(kernel.launch(pass.device, operands)?);
        }
        let shape = [pass.rows, group.low_rank, group.outputs];
        pass.multiply(shape, [dy.operand(), b.operand()], &Output::to(d_low_rank))?;
        for member in &group.members {
            let Some((from, place)) = member.b else { continue };
            let d_b = Operand { address: d_b(from), stride: rank, transposed: false };
            pass.device.multiply(&Gemm {
                m: member.width,
                n: rank,
                k: pass.rows,
                alpha: self.scale(),
                a: dy.columns_from(member.output).transposed(),
                b: low_rank.columns_from(place * rank).operand(),
                c: Some(d_b),
                d: d_b,
                result: Element::F32,
                bias: None,
            })?;
        }
        Ok(())
    }

    /// Adds the gradients of a group's `A`, after [`Self::linear_backward`].
    pub(super) fn a_backward(
        &self,
        index: usize,
        dy: Rows,
        x: Rows,
        gradients: Address,
    ) -> Result<(), EngineError> {
        let (pass, group) = (&self.pass, self.group(index)?);
        if !self.is_adapted(group) {
            return Ok(());
        }
        let x = self.dropped(index, x)?;
        let address = gradients.at(group.a * Element::F32.bytes());
        if let Some(scratch) = pass.activations.low_rank_sums.filter(|_| is_narrow(group)) {
            let (rows, inputs, low_rank) = (pass.rows, group.inputs, group.low_rank);
            let ds = dy.columns_from(group.outputs);
            let kernel = LowRankABackward { rows, inputs, low_rank };
            return Ok(kernel.launch(pass.device, address, [x, ds], scratch)?);
        }
        let d_a = Operand { address, stride: group.inputs, transposed: false };
        Ok(pass.device.multiply(&Gemm {
            m: group.low_rank,
            n: group.inputs,
            k: pass.rows,
            alpha: 1.0,
            a: dy.columns_from(group.outputs).transposed(),
            b: x.operand(),
            c: Some(d_a),
            d: d_a,
            result: Element::F32,
            bias: None,
        })?)
    }

    fn scale(&self) -> f32 {
        self.pass.layout.config.as_ref().map_or(0.0, crate::engine::LoraConfig::scale)
    }
}
