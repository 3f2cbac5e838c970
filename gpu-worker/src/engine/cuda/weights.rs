//! The frozen weights in a device's memory, in bf16, each group of layers with room for its adapter beside it.
//!
//! Layers that read the same input form one matrix `[out + r, in + r]`: the weights, at their right `scale · B` of each layer on
//! the diagonal, below them the stacked `A`. So one product gives `x·Wᵀ + scale·(x·Aᵀ)·Bᵀ` and one gives the gradient for `x`.

mod loader;
mod parts;
mod source;

use std::sync::Arc;

use self::{loader::Loader, parts::Parts};
use super::layout::{Group, Layout};
use crate::{
    cuda::{Address, Buffer, Device, DeviceError, Rows},
    engine::EngineError,
    nf4::cuda::{PackedWeight, dequantise},
};

pub(super) use source::Source;

/// A group of layers as it is held.
#[derive(Debug)]
enum Held {
    /// With its margins.
    Full(Rows),
    /// In four bits, one matrix per layer; written into shared memory when it is used.
    Packed(Vec<PackedWeight>),
}

/// A block's weights.
#[derive(Debug)]
pub(super) struct DeviceBlock {
    /// Weight of the normalisation before attention.
    pub(super) attention_norm: Address,
    /// Weight of the normalisation before the gated layers.
    pub(super) gated_norm: Address,
    /// Biases of query, key and value, one after another, in bf16.
    pub(super) bias: Option<Address>,
    /// Weights of the normalisation of heads of queries and keys.
    pub(super) head_norms: Option<[Address; 2]>,
    /// Weights of the normalisation of what attention and the gated layers give.
    pub(super) output_norms: Option<[Address; 2]>,
    groups: Vec<Held>,
}

/// A model's weights.
#[derive(Debug)]
pub(super) struct DeviceWeights {
    /// `[vocab, hidden]`
    pub(super) embedding: Rows,
    /// `[vocab, hidden]`
    pub(super) head: Rows,
    /// Weight of the last normalisation.
    pub(super) norm: Address,
    /// One per layer.
    pub(super) blocks: Vec<DeviceBlock>,
    /// Room for the largest packed group.
    unpacked: Option<Buffer>,
    parts: Option<Parts>,
    /// Everything else.
    buffers: Vec<Buffer>,
}

impl DeviceWeights {
    /// Puts a model with the margins of `layout` into the memory of a device.
    pub(super) fn load(
        device: &Arc<dyn Device>,
        source: &Source,
        layout: &Layout,
    ) -> Result<Self, EngineError> {
        let mut weights = Loader::new(device).load(source, layout)?;
        let packed = |(block, groups): (&DeviceBlock, &[Group; 4])| -> usize {
            let packed = block.groups.iter().zip(groups).filter(|(held, _)| matches!(held, Held::Packed(_)));
            packed.map(|(_, group)| 2 * group.values()).max().unwrap_or_default()
        };
        let largest = weights.blocks.iter().zip(&layout.groups).map(packed).max().unwrap_or_default();
        if largest > 0 {
            let buffer = Buffer::new(device, largest)?;
            device.zero(buffer.address(), largest)?;
            weights.unpacked = Some(buffer);
        }
        weights.parts = Parts::new(device, &weights, layout)?;
        Ok(weights)
    }

    /// Gives all memory back, so that there is room to load anew.
    pub(super) fn clear(&mut self) {
        (self.unpacked, self.parts) = (None, None);
        self.blocks.clear();
        self.buffers.clear();
    }

    /// Where the weights of a group stand with their margins.
    fn place(&self, held: &Held, group: &Group) -> Rows {
        match held {
            Held::Full(rows) => *rows,
            Held::Packed(_) => self.scratch(group),
        }
    }

    fn scratch(&self, group: &Group) -> Rows {
        let address = self.unpacked.as_ref().map_or(Address::NULL, Buffer::address);
        Rows::new(address, group.stride())
    }

    /// Writes an adapter's values into the margins of all weights that are held in full.
    pub(super) fn adapt(&self, device: &dyn Device, values: Address) -> Result<(), DeviceError> {
        let Some(parts) = &self.parts else { return Ok(()) };
        // Parts of packed weights are written when those are unpacked.
        if self.unpacked.is_none() {
            return parts.scatter(device, values);
        }
        for (layer, block) in self.blocks.iter().enumerate() {
            for (index, held) in block.groups.iter().enumerate() {
                if matches!(held, Held::Full(_)) {
                    parts.scatter_group(device, (layer, index), values)?;
                }
            }
        }
        Ok(())
    }

    /// The weights of a group with their margins, ready for products; those of four bits are unpacked.
    pub(super) fn group(
        &self,
        device: &dyn Device,
        (layer, index): (usize, usize),
        group: &Group,
        values: Option<Address>,
    ) -> Result<Rows, EngineError> {
        let Some(held) = self.blocks.get(layer).and_then(|block| block.groups.get(index)) else {
            return Err(EngineError::Defect { missing: "the weights of a group" });
        };
        let packed = match held {
            Held::Full(rows) => return Ok(*rows),
            Held::Packed(packed) => packed,
        };
        let rows = self.scratch(group);
        if let (Some(parts), Some(values)) = (&self.parts, values) {
            // Another group has left its own margins here.
            if group.low_rank > 0 {
                device.zero(rows.address, 2 * group.values())?;
            }
            parts.scatter_group(device, (layer, index), values)?;
        }
        for (weight, member) in packed.iter().zip(&group.members) {
            dequantise(device, rows.rows_from(member.output), *weight)?;
        }
        Ok(rows)
    }
}
