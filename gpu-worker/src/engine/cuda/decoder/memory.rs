//! Memory of a decoder's passes, laid out anew when a larger one comes.

use std::sync::Arc;

use super::super::{
    activations::{Activations, Arena, Inputs, Room},
    bytes::{WORD, number_bytes},
    graphs::Graphs,
    layout::{Layout, aligned},
};
use crate::{
    cuda::{Address, Buffer, Device, Operand, Rows},
    engine::{EngineError, reference::heads},
    model::ModelConfig,
    ops::{
        attention::cuda::cached::{CachedRow, ROW_BYTES, scratch_values},
        rope::Ropes,
    },
};

/// Positions there is room for at first.
const FIRST_POSITIONS: usize = 1024;
/// Bytes of logits that are held at once, at most.
const LOGIT_BYTES: usize = 256 << 20;
/// What the rows of a product are rounded up to, so that few shapes occur; for more than 128 rows in larger units.
const ROW_UNIT: usize = 16;
const LARGE_ROW_UNIT: usize = 64;
/// Rows that only fill up, at most.
const IDLE_ROWS: usize = LARGE_ROW_UNIT;
/// Recordings that are kept, at most.
const MOST_GRAPHS: usize = 128;

/// Rows of a product for so many that count.
pub(super) fn padded(rows: usize) -> usize {
    rows.next_multiple_of(if rows > 128 { LARGE_ROW_UNIT } else { ROW_UNIT })
}

/// Room for a chunk of logits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// Normalised rows.
    pub(super) input: Rows,
    /// `[rows, vocab]` in f32.
    pub(super) logits: Operand,
    /// Rows held at once.
    pub(super) rows: usize,
    /// `[rows]` in f32, of all rows of a pass.
    pub(super) scores: Address,
}

/// What a pass reads beside weights and caches, as it is written to the device: in one piece.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Entries of the table of cached rows.
    pub(super) table: Vec<u8>,
    pub(super) tokens: Vec<u32>,
    pub(super) positions: Vec<u32>,
    /// First row of each row's sequence in this pass.
    pub(super) starts: Vec<u32>,
    /// Rows whose logits are wanted.
    pub(super) wanted: Vec<u32>,
    /// Tokens that follow these rows.
    pub(super) labels: Vec<u32>,
}

/// What distinguishes steps of generation; those with equal keys start the same work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) rows: usize,
    /// What attention takes for the length of the longest sequence.
    pub(super) longest: usize,
    /// The adapter's values, where there is one.
    pub(super) values: Option<Address>,
    /// What outputs are multiplied by, where its method has magnitudes.
    pub(super) gains: Option<Address>,
}

/// All memory of the passes.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) activations: Activations,
    pub(super) head: Head,
    /// For attention over caches.
    pub(super) scratch: Address,
    pub(super) graphs: Graphs<Key>,
    /// A cache for the rows that only fill up.
    idle: Address,
    numbers: Address,
    positions: usize,
    _buffer: Buffer,
}

impl Memory {
    /// Whether there is room for a pass.
    pub(super) fn suffices(&self, [rows, positions]: [usize; 2]) -> bool {
        self.activations.rows >= rows && self.positions >= positions
    }

    /// Rows and positions that there is room for.
    pub(super) fn room(&self) -> [usize; 2] {
        [self.activations.rows, self.positions]
    }

    /// Takes memory for passes of up to `rows` rows and `positions` positions, and some more.
    pub(super) fn new(
        device: &Arc<dyn Device>,
        model: &ModelConfig,
        layout: &Layout,
        ropes: &mut Ropes,
        [rows, positions]: [usize; 2],
    ) -> Result<Self, EngineError> {
        let rows = rows.next_power_of_two().max(LARGE_ROW_UNIT);
        let positions = positions.next_power_of_two().max(FIRST_POSITIONS);
        let room = Room { rows, positions, keeping: None };
        let arrange = |base| -> Result<_, EngineError> {
            let (activations, bytes) = Activations::lay_out(base, model, layout, room)?;
            let mut arena = Arena { next: base.at(bytes) };
            let stride = aligned(model.vocab_size);
            let fitting = LOGIT_BYTES / (WORD * stride) / ROW_UNIT * ROW_UNIT;
            let head_rows = fitting.clamp(ROW_UNIT, rows.next_multiple_of(ROW_UNIT));
            let address = arena.words(head_rows * stride);
            let head = Head {
                input: arena.rows(head_rows, model.hidden_size),
                logits: Operand { address, stride, transposed: false },
                rows: head_rows,
                scores: arena.words(rows),
            };
            let scratch = arena.words(scratch_values(heads(model, 0)));
            let numbers = arena.bytes(rows * (ROW_BYTES + 5 * WORD));
            let idle = arena.rows(2 * model.layers * IDLE_ROWS, heads(model, 0).key_value_width()).address;
            Ok((activations, head, [scratch, numbers, idle], arena.next))
        };
        let (.., end) = arrange(Address::NULL)?;
        let buffer = Buffer::new(device, usize::try_from(end.0).unwrap_or(usize::MAX))?;
        let (activations, head, [scratch, numbers, idle], _) = arrange(buffer.address())?;
        // Products read rows that only fill up.
        device.zero(buffer.address(), buffer.bytes())?;
        activations.write_ropes(device.as_ref(), ropes, positions)?;
        let graphs = Graphs::new(device, MOST_GRAPHS);
        Ok(Self { activations, head, scratch, graphs, idle, numbers, positions, _buffer: buffer })
    }

    /// Where a row that only fills up has its keys and values: such rows are a sequence of their own.
    pub(super) fn idle_row(&self, position: usize) -> CachedRow {
        CachedRow { cache: self.idle, capacity: IDLE_ROWS, position }
    }

    /// Writes the numbers of a pass of `rows` rows; returns where the table lies.
    pub(super) fn put(
        &mut self,
        device: &dyn Device,
        rows: usize,
        numbers: &Numbers,
    ) -> Result<Address, EngineError> {
        let Numbers { table, tokens, positions, starts, wanted, labels } = numbers;
        let mut bytes = Vec::with_capacity(rows * (ROW_BYTES + 5 * WORD));
        bytes.extend_from_slice(table);
        bytes.resize(rows * ROW_BYTES, 0);
        for (section, values) in (1..).zip([tokens, positions, starts, wanted, labels]) {
            bytes.extend(number_bytes(values));
            bytes.resize(rows * (ROW_BYTES + section * WORD), 0);
        }
        device.write(self.numbers, &bytes)?;
        let section = |index| self.numbers.at(rows * (ROW_BYTES + index * WORD));
        self.activations.inputs = Inputs {
            tokens: section(0),
            positions: section(1),
            starts: section(2),
            labelled: section(3),
            labels: section(4),
            ..self.activations.inputs
        };
        Ok(self.numbers)
    }
}
