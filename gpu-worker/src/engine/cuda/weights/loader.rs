//! Puts the frozen weights into a device's memory: those of a base model, or random ones.

use std::sync::Arc;

use half::bf16;
use rayon::prelude::*;

use super::{DeviceBlock, DeviceWeights, Held, Source};
use crate::{
    cuda::{Address, Buffer, Device, DeviceError, Rows},
    engine::{
        EngineError,
        cuda::{
            bytes::float_bytes,
            layout::{Group, Layout},
        },
        reference::{Frozen, GROUPS, Weights, heads},
    },
    model::{BaseModel, ModelConfig},
    nf4::{Nf4Tensor, cuda::PackedWeight},
    ops::rows::fill_uniform,
};

/// Puts weights into a device's memory.
pub(super) struct Loader<'a> {
    device: &'a Arc<dyn Device>,
    buffers: Vec<Buffer>,
    /// Matrices filled so far.
    filled: u32,
}

impl<'a> Loader<'a> {
    pub(super) fn new(device: &'a Arc<dyn Device>) -> Self {
        Self { device, buffers: Vec::new(), filled: 0 }
    }

    /// The weights of a source with the margins of `layout`; packed ones have no room yet to be unpacked into.
    pub(super) fn load(mut self, source: &Source, layout: &Layout) -> Result<DeviceWeights, EngineError> {
        let mut weights = match source {
            Source::Base(base) => self.base(base, layout)?,
            Source::Random(config) => self.drawn(config, layout)?,
        };
        weights.buffers = self.buffers;
        Ok(weights)
    }

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
