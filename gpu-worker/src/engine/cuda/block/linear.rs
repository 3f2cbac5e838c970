//! A group of layers that read the same input, forward and backward.

use super::{super::layout::Group, Layer, Output, Pass};
use crate::{
    cuda::{Address, Element, Gemm, Operand, Rows},
    engine::EngineError,
};

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
        Ok(weights.group(device, (self.index, index), group, values)?)
    }

    /// Writes `x·Aᵀ` behind the columns of `x`; returns the width of both together.
    pub(super) fn low_rank(&self, group: &Group, weight: Rows, x: Rows) -> Result<usize, EngineError> {
        if !self.is_adapted(group) {
            return Ok(group.inputs);
        }
        let a = weight.rows_from(group.outputs);
        let low_rank = x.columns_from(group.inputs);
        let shape = [self.pass.rows, group.low_rank, group.inputs];
        self.pass.multiply(shape, [x.operand(), a.transposed()], &Output::to(low_rank))?;
        Ok(group.widened_inputs())
    }

    /// One group of layers; `x` has room for `x·Aᵀ` behind its columns.
    pub(super) fn linear(&self, index: usize, x: Rows, output: &Output) -> Result<(), EngineError> {
        let (pass, group) = (&self.pass, self.group(index)?);
        let weight = self.weight(index, group)?;
        let shape = [pass.rows, group.outputs, self.low_rank(group, weight, x)?];
        pass.multiply(shape, [x.operand(), weight.transposed()], output)
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
            let b = weight.columns_from(group.inputs);
            let shape = [pass.rows, group.low_rank, group.outputs];
            let d_low_rank = dy.columns_from(group.outputs);
            pass.multiply(shape, [dy.operand(), b.operand()], &Output::to(d_low_rank))?;
            inner = group.outputs + group.low_rank;
            let (rank, alpha) = (pass.layout.rank, self.scale());
            for member in &group.members {
                let Some((from, place)) = member.b else { continue };
                let d_b = Operand {
                    address: gradients.at(from * Element::F32.bytes()),
                    stride: rank,
                    transposed: false,
                };
                pass.device.multiply(&Gemm {
                    m: member.width,
                    n: rank,
                    k: pass.rows,
                    alpha,
                    a: dy.columns_from(member.output).transposed(),
                    b: low_rank.columns_from(place * rank).operand(),
                    c: Some(d_b),
                    d: d_b,
                    result: Element::F32,
                    bias: None,
                })?;
            }
        }
        let Some(dx) = dx else { return Ok(()) };
        let shape = [pass.rows, group.inputs, inner];
        pass.multiply(shape, [dy.operand(), weight.operand()], &Output::to(dx))
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
        let d_a = Operand {
            address: gradients.at(group.a * Element::F32.bytes()),
            stride: group.inputs,
            transposed: false,
        };
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
