//! Where the factors of an adapter go in the margins of the weights, as a table that a kernel reads.

use std::sync::Arc;

use super::DeviceWeights;
use crate::{
    cuda::{Address, Buffer, Device, DeviceError, Rows},
    engine::{
        EngineError, LoraConfig,
        cuda::layout::{Group, Layout},
    },
    ops::lora_linear::cuda::{AdapterPart, PART_BYTES, scatter_adapter},
};

/// Where an adapter's factors go.
#[derive(Debug)]
pub(super) struct Parts {
    /// In the order of layers and groups.
    table: Buffer,
    /// For each group where its own begin and end.
    ranges: Vec<[(usize, usize); 4]>,
}

impl Parts {
    /// Those of a layout's adapter, if it has one.
    pub(super) fn new(
        device: &Arc<dyn Device>,
        weights: &DeviceWeights,
        layout: &Layout,
    ) -> Result<Option<Self>, EngineError> {
        let Some(config) = &layout.config else { return Ok(None) };
        let mut parts = Vec::new();
        let mut ranges = Vec::with_capacity(weights.blocks.len());
        for (block, groups) in weights.blocks.iter().zip(&layout.groups) {
            let mut of_block = [(0, 0); 4];
            for ((held, group), range) in block.groups.iter().zip(groups).zip(&mut of_block) {
                let first = parts.len();
                add_parts(&mut parts, group, weights.place(held, group), (layout.rank, config));
                *range = (first, parts.len());
            }
            ranges.push(of_block);
        }
        let bytes: Vec<u8> = parts.into_iter().flat_map(AdapterPart::bytes).collect();
        let table = Buffer::new(device, bytes.len())?;
        device.write(table.address(), &bytes)?;
        Ok(Some(Self { table, ranges }))
    }

    /// Writes the factors of all groups.
    pub(super) fn scatter(&self, device: &dyn Device, values: Address) -> Result<(), DeviceError> {
        let count = self.ranges.last().map_or(0, |[.., (_, end)]| *end);
        scatter_adapter(device, self.table.address(), count, values)
    }

    /// Writes the factors of one group.
    pub(super) fn scatter_group(
        &self,
        device: &dyn Device,
        (layer, index): (usize, usize),
        values: Address,
    ) -> Result<(), DeviceError> {
        let range = self.ranges.get(layer).and_then(|ranges| ranges.get(index));
        let (first, end) = range.copied().unwrap_or_default();
        scatter_adapter(device, self.table.address().at(first * PART_BYTES), end - first, values)
    }
}

/// The stacked `A` below a group's weights, and each `B` at their right.
fn add_parts(
    parts: &mut Vec<AdapterPart>,
    group: &Group,
    weight: Rows,
    (rank, config): (usize, &LoraConfig),
) {
    if group.low_rank > 0 {
        parts.push(AdapterPart {
            to: weight.rows_from(group.outputs).address,
            from: group.a,
            rows: group.low_rank,
            columns: group.inputs,
            stride: weight.stride,
            scale: 1.0,
        });
    }
    for member in &group.members {
        let Some((from, place)) = member.b else { continue };
        let column = group.inputs + place * rank;
        parts.push(AdapterPart {
            to: weight.rows_from(member.output).columns_from(column).address,
            from,
            rows: member.width,
            columns: rank,
            stride: weight.stride,
            scale: config.scale(),
        });
    }
}
