//! One decoder block, forward and backward.

mod backward;
mod forward;

use super::{
    adapter::{AdapterLayout, Magnitudes},
    buffers::Buffer,
    weights::GROUPS,
};
use crate::{
    model::ModelConfig,
    ops::{
        OpError,
        attention::{HeadRows, Heads, Span},
        lora_linear::{Dropout, LoraGroup, Segment},
        matmul::Matrix,
        rope::Ropes,
    },
};

pub(super) use backward::{BackwardPass, backward};
pub(super) use forward::{AttentionOperands, forward};

/// An adapter's layout with its parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adapter<'a> {
    pub(super) layout: &'a AdapterLayout,
    pub(super) values: &'a [f32],
    /// Where its method has magnitudes.
    pub(super) magnitudes: Option<&'a Magnitudes>,
}

impl<'a> Adapter<'a> {
    fn group(&self, layer: usize, group: usize) -> Result<Option<LoraGroup<'a>>, OpError> {
        self.layout.group(layer, group, self.values, self.magnitudes)
    }
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
    pub(super) rope: &'a Ropes,
    /// Position of each row in its document or sequence.
    pub(super) positions: &'a [usize],
    /// Who adapts which rows; they cover all rows in order.
    pub(super) adapted: &'a [AdaptedRows<'a>],
    /// Before the updates, in training.
    pub(super) dropout: Option<Dropout>,
    /// Whether inputs of weights in blocks may be rounded to eight bits.
    pub(super) rounded: bool,
}

impl<'a> Pass<'a> {
    fn rows(&self) -> usize {
        self.positions.len()
    }

    fn dropout(&self, layer: usize, group: usize) -> Option<Dropout> {
        self.dropout.map(|dropout| dropout.stream((layer * GROUPS.len() + group) as u64))
    }

    fn segments(&self, layer: usize, group: usize) -> Result<Vec<Segment<'a>>, OpError> {
        let segment = |part: &AdaptedRows<'a>| {
            let lora = match part.adapter {
                Some(adapter) => adapter.group(layer, group)?,
                None => None,
            };
            Ok(Segment { rows: part.rows, lora })
        };
        self.adapted.iter().map(segment).collect()
    }
}

/// What the updates read of `x` under dropout.
fn dropped<'a>(dropout: Option<Dropout>, x: &[f32], buffer: &'a mut Buffer) -> Option<&'a [f32]> {
    let into = buffer.write(if dropout.is_some() { x.len() } else { 0 });
    dropout?.apply(x, into);
    Some(into)
}

/// Spans of packed documents: each sees itself alone.
pub(super) fn document_spans<'a>(
    heads: Heads,
    documents: &[usize],
    keys: &'a [f32],
    values: &'a [f32],
) -> Result<Vec<Span<'a>>, OpError> {
    let total = documents.iter().sum();
    let keys = Matrix::new(keys, total, heads.key_value_width())?;
    let values = Matrix::new(values, total, heads.key_value_width())?;
    let mut start = 0;
    let mut spans = Vec::with_capacity(documents.len());
    for rows in documents.iter().copied() {
        let part = |of: Matrix<'a>| Ok(HeadRows::Together(of.row_range(start, rows)?));
        spans.push(Span { rows, keys: part(keys)?, values: part(values)? });
        start += rows;
    }
    Ok(spans)
}
