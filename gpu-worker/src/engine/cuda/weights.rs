//! The frozen weights in a device's memory, in bf16, each group of layers with room for its adapter beside it.
//!
//! Layers that read the same input form one matrix `[out + r, in + r]`: the weights, at their right `scale · B` of each layer on
//! the diagonal, below them the stacked `A`. So one product gives `x·Wᵀ + scale·(x·Aᵀ)·Bᵀ` and one gives the gradient for `x`.

use std::sync::Arc;

use half::bf16;
use rayon::prelude::*;

use super::{
    bytes::float_bytes,
    layout::{Group, Layout},
};
use crate::{
    cuda::{Address, Buffer, Device, DeviceError, Rows},
    engine::{
        AdapterWeights, EngineError, LoraConfig,
        reference::{Frozen, GROUPS, Weights, begun_adapter, drawn_adapter, heads},
    },
    model::{BaseModel, ModelConfig},
    nf4::{
        Nf4Tensor,
        cuda::{PackedWeight, dequantise},
    },
    ops::{
        lora_linear::cuda::{AdapterPart, PART_BYTES, scatter_adapter},
        rows::fill_uniform,
    },
};

/// Where the values come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A base model in host memory.
    Base(Arc<BaseModel>),
    /// Uniform values made on the device, for benchmarks.
    Random(Box<ModelConfig>),
}

impl Source {
    pub(super) fn config(&self) -> &ModelConfig {
        match self {
            Self::Base(base) => &base.config,
            Self::Random(config) => config,
        }
    }

    /// A new adapter but for its magnitudes, which are zero.
    pub(super) fn begun_adapter(
        &self,
        config: &LoraConfig,
        seed: u64,
    ) -> Result<AdapterWeights, EngineError> {
        match self {
            Self::Base(base) => begun_adapter(config, base, seed),
            Self::Random(_) if config.frozen_rank > 0 => {
                let reason = "nothing is known of the singular values of random weights".to_owned();
                Err(EngineError::Unsupported { reason })
            }
            Self::Random(model) => drawn_adapter(config, model, seed),
        }
    }
}

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

/// Where an adapter's factors go.
#[derive(Debug)]
struct Parts {
    /// In the order of layers and groups.
    table: Buffer,
    /// For each group where its own begin and end.
    ranges: Vec<[(usize, usize); 4]>,
}

/// Puts weights into a device's memory.
struct Loader<'a> {
    device: &'a Arc<dyn Device>,
    buffers: Vec<Buffer>,
    /// Matrices filled so far.
    filled: u32,
}

impl Loader<'_> {
    fn allocate(&mut self, bytes: usize) -> Result<Address, DeviceError> {
        let buffer = Buffer::new(self.device, bytes)?;
        let address = buffer.address();
        self.buffers.push(buffer);
        Ok(address)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<Address, DeviceError> {
        let address = self.allocate(bytes.len())?;
        self.device.write(address, bytes)?;
        Ok(address)
    }

    fn floats(&mut self, values: &[f32]) -> Result<Address, DeviceError> {
        self.put(&float_bytes(values))
    }

    /// A random matrix whose products keep the size of their inputs.
    #[expect(clippy::cast_precision_loss, reason = "a width is far below 2²⁴")]
    fn random(&mut self, into: Rows, shape: [usize; 2]) -> Result<(), DeviceError> {
        self.filled += 1;
        let bound = (1.0 / shape[1].max(1) as f32).sqrt();
        fill_uniform(self.device.as_ref(), into, shape, self.filled, bound)
    }
}

/// Bytes in bf16 of rows of `width` values, each followed by `margin` zeros.
fn rows_with_margin(values: &[f32], width: usize, margin: usize) -> Vec<u8> {
    let row_bytes = 2 * (width + margin);
    let mut bytes = vec![0; values.len() / width.max(1) * row_bytes];
    bytes.par_chunks_mut(row_bytes.max(1)).zip(values.par_chunks(width.max(1))).for_each(|(into, row)| {
        for (into, value) in into.chunks_exact_mut(2).zip(row) {
            into.copy_from_slice(&bf16::from_f32(*value).to_le_bytes());
        }
    });
    bytes
}

/// The values of a weight in f32.
fn widened(weight: Frozen<'_>) -> Vec<f32> {
    let [rows, columns] = weight.shape();
    let mut values = vec![0.0; rows * columns];
    match weight {
        Frozen::Full(matrix) => {
            for (index, row) in values.chunks_exact_mut(columns.max(1)).enumerate() {
                row.copy_from_slice(matrix.row(index));
            }
        }
        Frozen::Nf4(tensor) => tensor.dequantise(&mut values),
        Frozen::Blocks(blocks) => blocks.read_rows(0, &mut values),
    }
    values
}

impl DeviceWeights {
    /// Puts a model with the margins of `layout` into the memory of a device.
    pub(super) fn load(
        device: &Arc<dyn Device>,
        source: &Source,
        layout: &Layout,
    ) -> Result<Self, EngineError> {
        let mut loader = Loader { device, buffers: Vec::new(), filled: 0 };
        let mut weights = match source {
            Source::Base(base) => loader.base(base, layout)?,
            Source::Random(config) => loader.drawn(config, layout)?,
        };
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
        weights.buffers = loader.buffers;
        weights.parts = weights.part_table(device, layout)?;
        Ok(weights)
    }

    /// Gives all memory back, so that there is room to load anew.
    pub(super) fn clear(&mut self) {
        (self.unpacked, self.parts) = (None, None);
        self.blocks.clear();
        self.buffers.clear();
    }

    /// Where each factor goes.
    fn part_table(&self, device: &Arc<dyn Device>, layout: &Layout) -> Result<Option<Parts>, EngineError> {
        let Some(config) = &layout.config else { return Ok(None) };
        let mut parts = Vec::new();
        let mut ranges = Vec::with_capacity(self.blocks.len());
        for (block, groups) in self.blocks.iter().zip(&layout.groups) {
            let mut of_block = [(0, 0); 4];
            for ((held, group), range) in block.groups.iter().zip(groups).zip(&mut of_block) {
                let first = parts.len();
                let weight = match held {
                    Held::Full(rows) => *rows,
                    Held::Packed(_) => self.scratch(group),
                };
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
                    let column = group.inputs + place * layout.rank;
                    parts.push(AdapterPart {
                        to: weight.rows_from(member.output).columns_from(column).address,
                        from,
                        rows: member.width,
                        columns: layout.rank,
                        stride: weight.stride,
                        scale: config.scale(),
                    });
                }
                *range = (first, parts.len());
            }
            ranges.push(of_block);
        }
        let bytes: Vec<u8> = parts.into_iter().flat_map(AdapterPart::bytes).collect();
        let table = Buffer::new(device, bytes.len())?;
        device.write(table.address(), &bytes)?;
        Ok(Some(Parts { table, ranges }))
    }

    fn scratch(&self, group: &Group) -> Rows {
        let address = self.unpacked.as_ref().map_or(Address::NULL, Buffer::address);
        Rows::new(address, group.stride())
    }

    /// Writes an adapter's values into the margins of all weights that are held in full.
    pub(super) fn adapt(&self, device: &dyn Device, values: Address) -> Result<(), DeviceError> {
        let Some(Parts { table, ranges }) = &self.parts else { return Ok(()) };
        // Parts of packed weights are written when those are unpacked.
        if self.unpacked.is_none() {
            let count = ranges.last().map_or(0, |[.., (_, end)]| *end);
            return scatter_adapter(device, table.address(), count, values);
        }
        for (block, ranges) in self.blocks.iter().zip(ranges) {
            for (held, (first, end)) in block.groups.iter().zip(ranges) {
                if matches!(held, Held::Full(_)) {
                    let parts = table.address().at(first * PART_BYTES);
                    scatter_adapter(device, parts, end - first, values)?;
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
    ) -> Result<Rows, DeviceError> {
        let Some(held) = self.blocks.get(layer).and_then(|block| block.groups.get(index)) else {
            return Ok(Rows::new(Address::NULL, group.stride()));
        };
        let packed = match held {
            Held::Full(rows) => return Ok(*rows),
            Held::Packed(packed) => packed,
        };
        let rows = self.scratch(group);
        if let (Some(Parts { table, ranges }), Some(values)) = (&self.parts, values) {
            // Another group has left its own margins here.
            if group.low_rank > 0 {
                device.zero(rows.address, 2 * group.values())?;
            }
            let (first, end) =
                ranges.get(layer).and_then(|ranges| ranges.get(index)).copied().unwrap_or_default();
            let parts = table.address().at(first * PART_BYTES);
            scatter_adapter(device, parts, end - first, values)?;
        }
        for (weight, member) in packed.iter().zip(&group.members) {
            dequantise(device, rows.rows_from(member.output), *weight)?;
        }
        Ok(rows)
    }
}

impl Loader<'_> {
    fn base(&mut self, base: &BaseModel, layout: &Layout) -> Result<DeviceWeights, EngineError> {
        let config = &base.config;
        let weights = Weights::resolve(base)?;
        let head = self.table(weights.head)?;
        let embedding =
            if config.tie_word_embeddings { head } else { self.table(weights.embedding.weight(config)?)? };
        let norm = self.floats(weights.norm)?;
        let mut blocks = Vec::with_capacity(config.layers);
        for (block, groups) in weights.blocks.iter().zip(&layout.groups) {
            let bias = match block.biases {
                None => None,
                Some(biases) => {
                    let all: Vec<f32> = biases.into_iter().flatten().copied().collect();
                    Some(self.put(&rows_with_margin(&all, all.len(), 0))?)
                }
            };
            let mut pair = |weights: Option<[&[f32]; 2]>| -> Result<Option<[Address; 2]>, DeviceError> {
                let Some([first, second]) = weights else { return Ok(None) };
                Ok(Some([self.floats(first)?, self.floats(second)?]))
            };
            let (head_norms, output_norms) = (pair(block.head_norms)?, pair(block.output_norms)?);
            let mut held_groups = Vec::with_capacity(groups.len());
            for (weights, group) in block.groups.iter().zip(groups) {
                held_groups.push(self.group(weights, group)?);
            }
            blocks.push(DeviceBlock {
                attention_norm: self.floats(block.attention_norm)?,
                gated_norm: self.floats(block.gated_norm)?,
                bias,
                head_norms,
                output_norms,
                groups: held_groups,
            });
        }
        Ok(DeviceWeights { embedding, head, norm, blocks, unpacked: None, parts: None, buffers: Vec::new() })
    }

    /// A matrix without margin.
    fn table(&mut self, weight: Frozen<'_>) -> Result<Rows, DeviceError> {
        let [_, width] = weight.shape();
        Ok(Rows::new(self.put(&rows_with_margin(&widened(weight), width, 0))?, width))
    }

    fn group(&mut self, weights: &[Frozen<'_>], group: &Group) -> Result<Held, EngineError> {
        let packed: Option<Vec<&Nf4Tensor>> = weights
            .iter()
            .map(|weight| match weight {
                Frozen::Nf4(tensor) => Some(*tensor),
                Frozen::Full(_) | Frozen::Blocks(_) => None,
            })
            .collect();
        if let Some(tensors) = packed {
            let packed = tensors.into_iter().map(|tensor| {
                Ok(PackedWeight {
                    codes: self.put(tensor.codes())?,
                    scales: self.floats(&tensor.plain_scales())?,
                    block: tensor.block(),
                    shape: tensor.shape(),
                })
            });
            return Ok(Held::Packed(packed.collect::<Result<_, DeviceError>>()?));
        }
        let address = self.allocate(2 * group.values())?;
        let rows = Rows::new(address, group.stride());
        for (weight, member) in weights.iter().zip(&group.members) {
            let bytes = rows_with_margin(&widened(*weight), group.inputs, group.stride() - group.inputs);
            self.device.write(rows.rows_from(member.output).address, &bytes)?;
        }
        Ok(Held::Full(rows))
    }

    /// A model with random matrices and norms of one.
    fn drawn(&mut self, config: &ModelConfig, layout: &Layout) -> Result<DeviceWeights, EngineError> {
        let hidden = config.hidden_size;
        let table = Rows::new(self.allocate(2 * config.vocab_size * hidden)?, hidden);
        self.random(table, [config.vocab_size, hidden])?;
        let head = if config.tie_word_embeddings {
            table
        } else {
            let head = Rows::new(self.allocate(2 * config.vocab_size * hidden)?, hidden);
            self.random(head, [config.vocab_size, hidden])?;
            head
        };
        let ones = self.floats(&vec![1.0; hidden])?;
        let head_ones = self.floats(&vec![1.0; config.head_dim])?;
        let variant = &config.variant;
        let mut blocks = Vec::with_capacity(config.layers);
        for (layer, groups) in layout.groups.iter().enumerate() {
            let mut drawn = Vec::with_capacity(GROUPS.len());
            for group in groups {
                let rows = Rows::new(self.allocate(2 * group.values())?, group.stride());
                self.device.zero(rows.address, 2 * group.values())?;
                self.random(rows, [group.outputs, group.inputs])?;
                drawn.push(Held::Full(rows));
            }
            let bias = if variant.query_key_value_bias {
                let heads = heads(config, layer);
                let width = heads.query_width() + 2 * heads.key_value_width();
                let bias = Rows::new(self.allocate(2 * width)?, width);
                self.random(bias, [1, width])?;
                Some(bias.address)
            } else {
                None
            };
            blocks.push(DeviceBlock {
                attention_norm: ones,
                gated_norm: ones,
                bias,
                head_norms: variant.query_key_norm.then_some([head_ones; 2]),
                output_norms: variant.output_norms.then_some([ones; 2]),
                groups: drawn,
            });
        }
        let weights = DeviceWeights {
            embedding: table,
            head,
            norm: ones,
            blocks,
            unpacked: None,
            parts: None,
            buffers: Vec::new(),
        };
        Ok(weights)
    }
}
