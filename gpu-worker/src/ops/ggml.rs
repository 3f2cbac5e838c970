//! Weights in the blocks of GGUF files, kept so in memory: read back exactly, or multiplied as they are.
//!
//! A product takes activations rounded to eight bits, 32 of a row with one scale, as llama.cpp does; sums of codes are exact.
//! Each activation is off by at most 1/254 of the largest in its 32, so each product by a term of that size times `Σ|w|`.

mod activations;
mod isa;
mod kernel;
mod layout;

use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use self::isa::raw::Vnni;
use self::{
    activations::Activations,
    isa::{Isa, Portable},
    layout::{Layout, PANEL, PLANE_BYTES, Parts, RUN, parse},
};
use super::{
    OpError,
    matmul::{Matrix, MatrixMut},
    simd::vectorised,
};

pub use layout::BlockFormat;

const OPERATION: &str = "product with blocks";
/// Rows of activations that are multiplied at once.
const ROWS: usize = 16;
/// Bytes of weights that a task multiplies at least.
const TASK_BYTES: usize = 32 << 10;

/// A matrix `[rows, columns]` in blocks, sixteen rows side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockMatrix {
    format: BlockFormat,
    rows: usize,
    columns: usize,
    panels: Vec<u8>,
}

impl BlockMatrix {
    /// Takes over the blocks of a file; row `i` of the matrix is row `source_row(i)` of the file.
    ///
    /// # Errors
    /// [`OpError::Length`] unless `bytes` holds `rows · columns` weights in whole blocks.
    pub fn new(
        format: BlockFormat,
        [rows, columns]: [usize; 2],
        bytes: &[u8],
        source_row: impl Fn(usize) -> usize + Sync,
    ) -> Result<Self, OpError> {
        let layout = format.layout();
        let row_bytes = columns / layout.columns * layout.file_bytes;
        let expected = if columns.is_multiple_of(layout.columns) { rows * row_bytes } else { 0 };
        super::check_length(OPERATION, "blocks", bytes.len(), expected)?;
        let panel_bytes = columns / layout.columns * layout.block_bytes();
        let mut panels = vec![0; rows.div_ceil(PANEL) * panel_bytes];
        panels.par_chunks_exact_mut(panel_bytes.max(1)).enumerate().for_each(|(panel, into)| {
            for row in 0..PANEL.min(rows - panel * PANEL) {
                let source = source_row(panel * PANEL + row) * row_bytes;
                let blocks = bytes.get(source..source + row_bytes).unwrap_or_default();
                for (block, into) in
                    blocks.chunks_exact(layout.file_bytes).zip(into.chunks_exact_mut(layout.block_bytes()))
                {
                    place(layout, &parse(format, block), row, into);
                }
            }
        });
        Ok(Self { format, rows, columns, panels })
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// Bytes of its blocks.
    pub fn bytes(&self) -> usize {
        self.panels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the values of the rows from `start` on, as many as fit `into`, exactly as llama.cpp and candle read them.
    pub fn read_rows(&self, start: usize, into: &mut [f32]) {
        let columns = self.columns.max(1);
        if into.len() / columns < PANEL {
            into.chunks_exact_mut(columns)
                .enumerate()
                .for_each(|(row, into)| self.read_row(start + row, into));
            return;
        }
        into.par_chunks_mut(PANEL * columns).enumerate().for_each(|(panel, into)| {
            for (row, into) in into.chunks_exact_mut(columns).enumerate() {
                self.read_row(start + panel * PANEL + row, into);
            }
        });
    }

    fn read_row(&self, row: usize, into: &mut [f32]) {
        let panel = self.panel(row / PANEL);
        vectorised(
            #[inline(always)]
            || {
                let row = row % PANEL;
                match self.format {
                    BlockFormat::Q4_0 => read_row(BlockFormat::Q4_0.layout(), panel, row, into),
                    BlockFormat::Q4_1 => read_row(BlockFormat::Q4_1.layout(), panel, row, into),
                    BlockFormat::Q5_0 => read_row(BlockFormat::Q5_0.layout(), panel, row, into),
                    BlockFormat::Q5_1 => read_row(BlockFormat::Q5_1.layout(), panel, row, into),
                    BlockFormat::Q8_0 => read_row(BlockFormat::Q8_0.layout(), panel, row, into),
                    BlockFormat::Q4K => read_row(BlockFormat::Q4K.layout(), panel, row, into),
                    BlockFormat::Q5K => read_row(BlockFormat::Q5K.layout(), panel, row, into),
                    BlockFormat::Q6K => read_row(BlockFormat::Q6K.layout(), panel, row, into),
                }
            },
        );
    }

    fn panel_bytes(&self) -> usize {
        let layout = self.format.layout();
        self.columns / layout.columns * layout.block_bytes()
    }

    fn panel(&self, index: usize) -> &[u8] {
        let bytes = self.panel_bytes();
        self.panels.get(index * bytes..(index + 1) * bytes).unwrap_or_default()
    }
}

/// Writes a block into its row of sixteen.
#[expect(clippy::indexing_slicing, reason = "a row is below 16, and the block is as long as its layout says")]
fn place(layout: Layout, parts: &Parts, row: usize, block: &mut [u8]) {
    let (head, runs) = block.split_at_mut(layout.head_bytes());
    head[2 * row..2 * row + 2].copy_from_slice(&parts.scale);
    if layout.minimum {
        head[2 * (PANEL + row)..2 * (PANEL + row) + 2].copy_from_slice(&parts.minimum);
    }
    for (run, bytes) in runs.chunks_exact_mut(layout.run_bytes()).enumerate() {
        let (scales, rest) = bytes.split_at_mut(layout.scale_bytes());
        let (minima, codes) = rest.split_at_mut(layout.minimum_bytes());
        for (group, scales) in scales.chunks_exact_mut(PANEL).enumerate() {
            scales[row] = parts.scales[run * layout.groups + group];
        }
        if let Some(minimum) = minima.get_mut(row) {
            *minimum = parts.minima[run];
        }
        let (lower, upper) = codes.split_at_mut(PLANE_BYTES);
        for (column, code) in parts.codes[run * RUN..(run + 1) * RUN].iter().enumerate() {
            let (step, byte) = (column / 4, 4 * row + column % 4);
            lower[64 * (step % 4) + byte] |= (code & 15) << (4 * (step / 4));
            if layout.upper_bits == 4 {
                upper[64 * (step % 4) + byte] |= (code >> 4) << (4 * (step / 4));
            } else if layout.upper_bits > 0 {
                let bit = step * layout.upper_bits;
                upper[64 * (bit / 8) + byte] |= (code >> 4) << (bit % 8);
            }
        }
    }
}

/// Reads a row of a panel.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled inside `vectorised`, for each layout")]
#[expect(clippy::indexing_slicing, reason = "a row is below 16, and the block is as long as its layout says")]
fn read_row(layout: Layout, panel: &[u8], row: usize, into: &mut [f32]) {
    let half = |bytes: &[u8], at: usize| isa::widen([bytes[2 * at], bytes[2 * at + 1]]);
    let blocks = panel.chunks_exact(layout.block_bytes());
    for (bytes, into) in blocks.zip(into.chunks_exact_mut(layout.columns)) {
        let (head, runs) = bytes.split_at(layout.head_bytes());
        let scale = half(head, row);
        let minimum = if layout.minimum { half(head, PANEL + row) } else { 0.0 };
        for (bytes, into) in runs.chunks_exact(layout.run_bytes()).zip(into.as_chunks_mut::<RUN>().0) {
            let (scales, rest) = bytes.split_at(layout.scale_bytes());
            let (minima, codes) = rest.split_at(layout.minimum_bytes());
            let signed = |bytes: &[u8], at: usize| f32::from(bytes[at].cast_signed());
            let minimum = if layout.minimum_bytes() > 0 { -(minimum * signed(minima, row)) } else { minimum };
            let scales = match layout.groups {
                0 => [scale; 2],
                1 => [scale * signed(scales, row); 2],
                _ => [scale * signed(scales, row), scale * signed(scales, PANEL + row)],
            };
            let codes = codes_of(layout, codes, row);
            for ((codes, into), scale) in
                codes.as_chunks::<16>().0.iter().zip(into.as_chunks_mut::<16>().0).zip(scales)
            {
                for (code, into) in codes.iter().zip(into) {
                    let value = f32::from(i16::from(*code) - i16::from(layout.zero)) * scale;
                    *into = if layout.minimum { value + minimum } else { value };
                }
            }
        }
    }
}

/// The codes of a run of a row.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled inside `vectorised`, for each layout")]
#[expect(clippy::indexing_slicing, reason = "a row is below 16, and planes are as long as the layout says")]
fn codes_of(layout: Layout, bytes: &[u8], row: usize) -> [u8; RUN] {
    let (lower, upper) = bytes.split_at(PLANE_BYTES);
    let four = |plane: &[u8], vector: usize| {
        let at = 64 * vector + 4 * row;
        [plane[at], plane[at + 1], plane[at + 2], plane[at + 3]]
    };
    let sixteen = |plane: &[u8]| {
        let mut bytes = [0; 16];
        for (vector, bytes) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *bytes = four(plane, vector);
        }
        bytes
    };
    let mut codes = [0; RUN];
    let (first, second) = codes.split_at_mut(16);
    for ((first, second), byte) in first.iter_mut().zip(second).zip(sixteen(lower)) {
        (*first, *second) = (byte & 15, byte >> 4);
    }
    if layout.upper_bits == 4 {
        let (first, second) = codes.split_at_mut(16);
        for ((first, second), byte) in first.iter_mut().zip(second).zip(sixteen(upper)) {
            *first |= (byte & 15) << 4;
            *second |= byte >> 4 << 4;
        }
    } else if layout.upper_bits > 0 {
        for (step, codes) in codes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let bit = step * layout.upper_bits;
            for (code, byte) in codes.iter_mut().zip(four(upper, bit / 8)) {
                *code |= (byte >> (bit % 8) & ((1 << layout.upper_bits) - 1)) << 4;
            }
        }
    }
    codes
}

/// A matrix in blocks and where its products go.
#[derive(Debug)]
pub struct BlockProduct<'a> {
    /// `[out, in]`
    pub weights: &'a BlockMatrix,
    /// `[rows, out]`
    pub into: MatrixMut<'a>,
}

/// Computes `into = [into +] x · weightsᵀ` for several matrices and one `x [rows, in]`, rounded to eight bits.
///
/// # Errors
/// [`OpError::Shape`] when a matrix fits neither `x` nor its destination. Nothing is computed then.
pub fn multiply(x: Matrix<'_>, products: Vec<BlockProduct<'_>>, accumulate: bool) -> Result<(), OpError> {
    for BlockProduct { weights, into } in &products {
        let [out, columns] = weights.shape();
        let mismatch =
            |operand, got, expected| OpError::Shape { operation: OPERATION, operand, got, expected };
        if columns != x.columns() {
            return Err(mismatch("weights", (out, columns), (out, x.columns())));
        }
        if (into.rows(), into.columns()) != (x.rows(), out) {
            return Err(mismatch("destination", (into.rows(), into.columns()), (x.rows(), out)));
        }
    }
    if products.is_empty() {
        return Ok(());
    }
    let activations = Activations::new(x);
    let mut tasks = Vec::new();
    for BlockProduct { weights, mut into } in products {
        let panels = (TASK_BYTES / weights.panel_bytes().max(1)).max(1);
        let mut panel = 0;
        while into.columns() > 0 {
            let columns = (panels * PANEL).min(into.columns());
            let (part, rest) = into.split_columns(columns)?;
            tasks.push(Task { weights, panel, into: part, accumulate });
            (into, panel) = (rest, panel + panels);
        }
    }
    tasks.into_par_iter().with_max_len(1).for_each(|task| task.run(&activations));
    Ok(())
}

/// Some panels of a matrix, from `panel` on.
struct Task<'a> {
    weights: &'a BlockMatrix,
    panel: usize,
    into: MatrixMut<'a>,
    accumulate: bool,
}

impl Task<'_> {
    fn run(self, x: &Activations) {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(isa) = Vnni::try_new() {
                return isa.vectorize(Vectorised { isa, task: self, x });
            }
            if let Some(isa) = pulp::x86::V3::try_new() {
                return isa.vectorize(Vectorised { isa, task: self, x });
            }
        }
        self.run_on(Portable, x);
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    fn run_on<I: Isa>(self, isa: I, x: &Activations) {
        match self.weights.format {
            BlockFormat::Q4_0 => self.run_with(isa, BlockFormat::Q4_0.layout(), x),
            BlockFormat::Q4_1 => self.run_with(isa, BlockFormat::Q4_1.layout(), x),
            BlockFormat::Q5_0 => self.run_with(isa, BlockFormat::Q5_0.layout(), x),
            BlockFormat::Q5_1 => self.run_with(isa, BlockFormat::Q5_1.layout(), x),
            BlockFormat::Q8_0 => self.run_with(isa, BlockFormat::Q8_0.layout(), x),
            BlockFormat::Q4K => self.run_with(isa, BlockFormat::Q4K.layout(), x),
            BlockFormat::Q5K => self.run_with(isa, BlockFormat::Q5K.layout(), x),
            BlockFormat::Q6K => self.run_with(isa, BlockFormat::Q6K.layout(), x),
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    fn run_with<I: Isa>(mut self, isa: I, layout: Layout, x: &Activations) {
        let (rows, columns) = (self.into.rows(), self.into.columns());
        for (index, column) in (0..columns).step_by(PANEL).enumerate() {
            let panel = self.weights.panel(self.panel + index);
            // Codes are taken apart once for all rows at hand; one row alone needs no memory for its sums.
            for row in (0..rows).step_by(ROWS) {
                let count = ROWS.min(rows - row);
                let x = x.rows(row, count);
                if count == 1 {
                    self.store(row, column, &kernel::panel::<I, 1>(isa, layout, panel, x));
                } else {
                    let sums = kernel::panel::<I, ROWS>(isa, layout, panel, x);
                    self.store(row, column, sums.get(..count).unwrap_or_default());
                }
            }
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    fn store(&mut self, row: usize, column: usize, sums: &[[f32; PANEL]]) {
        for (index, sums) in sums.iter().enumerate() {
            let into = self.into.row_mut(row + index).get_mut(column..).unwrap_or_default();
            for (into, sum) in into.iter_mut().zip(sums) {
                *into = if self.accumulate { *into + sum } else { *sum };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
struct Vectorised<'a, I> {
    isa: I,
    task: Task<'a>,
    x: &'a Activations,
}

#[cfg(target_arch = "x86_64")]
impl<I: Isa> pulp::NullaryFnOnce for Vectorised<'_, I> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    fn call(self) {
        self.task.run_on(self.isa, self.x);
    }
}

#[cfg(test)]
mod tests;
