//! What outputs are multiplied by under `DoRA`, in a device's memory: computed anew once the adapter has changed.

use std::sync::Arc;

use super::{
    bytes::{WORD, float_bytes, floats},
    layout::{Group, GroupMagnitudes, Layout},
    weights::DeviceWeights,
};
use crate::{
    cuda::{Address, Buffer, Device, DeviceError, Element, Gemm, Operand, Rows},
    engine::{EngineError, LoraConfig, TargetModule},
    ops::lora_linear::cuda::{MagnitudeGains, row_squares},
};

/// Gains, norms and what they follow from; each has a value for every output of the groups with magnitudes, in f32.
#[derive(Debug)]
pub(super) struct Magnitudes {
    buffer: Buffer,
    /// Outputs of all groups with magnitudes.
    outputs: usize,
    /// The layers that the adapter updates; its layout may have more.
    targets: Vec<TargetModule>,
}

/// Where the outputs of a group find theirs.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfGroup {
    /// `m / n`; 1 where a layer is not updated.
    pub(super) gains: Address,
    /// `n = ‖W_j + scale·(B·A)_j‖`; infinite where a layer is not updated.
    pub(super) norms: Address,
    /// `‖W_j‖²`; the base model is frozen, so it is computed once.
    squares: Address,
}

/// Values of scratch that the product with `A` takes for the largest group.
fn scratch(layout: &Layout) -> usize {
    let groups = layout.groups.iter().flatten();
    groups.map(|group| (group.outputs + group.low_rank) * group.low_rank).max().unwrap_or_default()
}

impl Magnitudes {
    /// Bytes that they take.
    pub(super) fn bytes(layout: &Layout) -> usize {
        if layout.scaled_outputs == 0 { 0 } else { WORD * (3 * layout.scaled_outputs + scratch(layout)) }
    }

    /// Those of an adapter's values, where the layout has any; the weights hold its factors already. Layers that are not `targets`
    /// stay as they are.
    ///
    /// # Errors
    /// [`EngineError::NoLength`] when the weights of an output are all zero.
    pub(super) fn new(
        device: &Arc<dyn Device>,
        weights: &DeviceWeights,
        layout: &Layout,
        (values, targets): (Address, &[TargetModule]),
    ) -> Result<Option<Self>, EngineError> {
        if layout.scaled_outputs == 0 {
            return Ok(None);
        }
        let buffer = Buffer::new(device, Self::bytes(layout))?;
        let magnitudes = Self { buffer, outputs: layout.scaled_outputs, targets: targets.to_vec() };
        let each = |value: f32| float_bytes(&vec![value; magnitudes.outputs]);
        device.write(magnitudes.gains(), &each(1.0))?;
        device.write(magnitudes.norms(), &each(f32::INFINITY))?;
        magnitudes.compute(device.as_ref(), weights, layout, values, true)?;
        magnitudes.check(device.as_ref(), layout)?;
        Ok(Some(magnitudes))
    }

    /// Where the gains of all groups begin.
    pub(super) fn gains(&self) -> Address {
        self.buffer.address()
    }

    fn norms(&self) -> Address {
        self.gains().at(self.outputs * WORD)
    }

    /// What the outputs of a group find.
    pub(super) fn of_group(&self, GroupMagnitudes { first_output, .. }: GroupMagnitudes) -> OfGroup {
        let gains = self.gains().at(first_output * WORD);
        let norms = gains.at(self.outputs * WORD);
        OfGroup { gains, norms, squares: norms.at(self.outputs * WORD) }
    }

    /// Sets each magnitude to the length of its row, so that nothing is scaled yet.
    pub(super) fn begin(
        &self,
        device: &dyn Device,
        layout: &Layout,
        values: Address,
    ) -> Result<(), DeviceError> {
        let mut norms = vec![0; self.outputs * WORD];
        device.read(self.norms(), &mut norms)?;
        for (group, magnitudes) in scaled(layout) {
            for member in group.members.iter().filter(|member| member.b.is_some()) {
                let first = magnitudes.first_output + member.output;
                let lengths = norms.get(first * WORD..(first + member.width) * WORD).unwrap_or_default();
                device.write(values.at((magnitudes.from + member.output) * WORD), lengths)?;
            }
        }
        device.write(self.gains(), &float_bytes(&vec![1.0; self.outputs]))
    }

    /// Brings gains and norms to changed values.
    pub(super) fn refresh(
        &self,
        device: &dyn Device,
        weights: &DeviceWeights,
        layout: &Layout,
        values: Address,
    ) -> Result<(), EngineError> {
        self.compute(device, weights, layout, values, false)
    }

    fn compute(
        &self,
        device: &dyn Device,
        weights: &DeviceWeights,
        layout: &Layout,
        values: Address,
        with_squares: bool,
    ) -> Result<(), EngineError> {
        let Some(config) = &layout.config else { return Ok(()) };
        for (layer, groups) in layout.groups.iter().enumerate() {
            for (index, group) in groups.iter().enumerate() {
                let Some(magnitudes) = group.magnitudes else { continue };
                if !group.members.iter().any(|member| self.targets.contains(&member.module)) {
                    continue;
                }
                let weight = weights.group(device, (layer, index), group, Some(values))?;
                if with_squares {
                    let squares = self.of_group(magnitudes).squares;
                    row_squares(device, squares, weight, [group.outputs, group.inputs])?;
                }
                self.compute_group(device, (group, magnitudes), weight, values, (layout.rank, config))?;
            }
        }
        Ok(())
    }

    /// Gains and norms of a group whose weights are there with their margins: `W` and, right below it, `A`, so that one product
    /// gives both `W·Aᵀ` and `A·Aᵀ`.
    fn compute_group(
        &self,
        device: &dyn Device,
        (group, magnitudes): (&Group, GroupMagnitudes),
        weight: Rows,
        values: Address,
        (rank, config): (usize, &LoraConfig),
    ) -> Result<(), EngineError> {
        let projected = self.norms().at(2 * self.outputs * WORD);
        device.multiply(&Gemm {
            m: group.outputs + group.low_rank,
            n: group.low_rank,
            k: group.inputs,
            alpha: 1.0,
            a: weight.operand(),
            b: weight.rows_from(group.outputs).transposed(),
            c: None,
            d: Operand { address: projected, stride: group.low_rank, transposed: false },
            result: Element::F32,
            bias: None,
        })?;
        let OfGroup { gains, norms, squares } = self.of_group(magnitudes);
        for member in group.members.iter().filter(|member| self.targets.contains(&member.module)) {
            let Some((b, place)) = member.b else { continue };
            let output = member.output * WORD;
            let at = |row: usize| projected.at((row * group.low_rank + place * rank) * WORD);
            let computed = MagnitudeGains {
                gains: gains.at(output),
                norms: norms.at(output),
                magnitudes: values.at(magnitudes.from * WORD + output),
                squares: squares.at(output),
                b: values.at(b * WORD),
                projected: at(member.output),
                inner: at(group.outputs + place * rank),
                stride: group.low_rank,
                rank,
                scale: config.scale(),
            };
            computed.compute(device, member.width)?;
        }
        Ok(())
    }

    /// Whether every updated output has a length.
    fn check(&self, device: &dyn Device, layout: &Layout) -> Result<(), EngineError> {
        let mut bytes = vec![0; self.outputs * WORD];
        device.read(self.norms(), &mut bytes)?;
        let norms: Vec<f32> = floats(&bytes).collect();
        for (layer, groups) in layout.groups.iter().enumerate() {
            for group in groups {
                let Some(magnitudes) = group.magnitudes else { continue };
                for member in &group.members {
                    let first = magnitudes.first_output + member.output;
                    let lengths = norms.get(first..first + member.width).unwrap_or_default();
                    if lengths.iter().any(|norm| *norm <= 0.0) {
                        return Err(EngineError::NoLength { tensor: member.module.weight_name(layer) });
                    }
                }
            }
        }
        Ok(())
    }
}

/// The groups that have magnitudes.
fn scaled(layout: &Layout) -> impl Iterator<Item = (&Group, GroupMagnitudes)> {
    layout.groups.iter().flatten().filter_map(|group| Some((group, group.magnitudes?)))
}
