//! Launches the kernels of `low_rank.cu`.

use crate::cuda::{
    Address, Argument, Device, DeviceError, Element, Launch, Rows, THREADS, arguments, blocks,
};

/// Layers that a launch can have.
const LAYERS: usize = 3;
/// Rows and outputs of a tile, and its bytes.
const TILE: usize = 128;
const TILE_BYTES: usize = TILE * TILE * 2;
/// What widths of chunks are rounded up to, so that they begin with a line of the cache.
const CHUNK_UNIT: usize = 64;
/// Thread blocks that run at once on an H100 or H200, one on each multiprocessor. The same everywhere, so that results do not
/// depend on the device.
const AT_ONCE: usize = 132;
/// Most turns in which the thread blocks may come.
const MOST_TURNS: usize = 4;
/// Values that a thread of `low_rank_sums` adds up, and how many terms it takes alone.
const VALUES: usize = 4;
const TERMS: usize = 8;

/// How a kernel is launched, as its source says.
struct Kernel {
    name: &'static str,
    most_rank: usize,
    most_outputs: usize,
    shared_bytes: u32,
}

const KERNELS: [Kernel; 3] = [
    Kernel { name: "low_rank_backward_r16", most_rank: 16, most_outputs: 512, shared_bytes: 163_840 },
    Kernel { name: "low_rank_backward_r32", most_rank: 32, most_outputs: 512, shared_bytes: 155_648 },
    Kernel { name: "low_rank_backward_r64", most_rank: 64, most_outputs: 256, shared_bytes: 131_072 },
];

/// An updated layer of a group that reads the same input.
#[derive(Debug, Clone, Copy)]
pub struct LowRankLayer {
    /// First of its outputs in the group's.
    pub output: usize,
    /// How many outputs; a multiple of 8.
    pub width: usize,
    /// First of its columns in `S`, `dS` and `B`; a multiple of 8.
    pub column: usize,
    /// Gradients of its `B`, `[width, rank]` in f32.
    pub d_b: Address,
}

/// The gradients of a group's low-rank updates, `dS = dY·B` and `dB += scale·dYᵀ·S`, from one reading of `dY`.
#[derive(Debug, Clone, Copy)]
pub struct LowRankBackward<'a> {
    /// Rows of `dY`.
    pub rows: usize,
    /// Rank of each layer; a multiple of 8.
    pub rank: usize,
    /// What the gradients of `B` are multiplied by; `B` itself is multiplied by it already.
    pub scale: f32,
    /// The updated layers.
    pub layers: &'a [LowRankLayer],
}

/// What [`LowRankBackward`] reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct LowRankGradients {
    /// Gradient of the outputs, `[rows, outputs]`.
    pub dy: Rows,
    /// Where `dS` goes, `[rows, layers · rank]`; may be further columns of `dy`.
    pub ds: Rows,
    /// `x·Aᵀ` of all layers, `[rows, layers · rank]`.
    pub s: Rows,
    /// Scaled `B` of each layer in its own rows and columns, `[outputs, layers · rank]`.
    pub b: Rows,
    /// [`LowRankBackward::scratch_bytes`] to work in.
    pub scratch: Address,
}

/// A layer's outputs, cut.
#[derive(Debug, Clone, Copy, Default)]
struct Cut {
    chunk: usize,
    chunks: usize,
}

/// How the work is cut into thread blocks.
struct Partition {
    kernel: &'static Kernel,
    cuts: [Cut; LAYERS],
    chunks: usize,
    block_rows: usize,
    row_blocks: usize,
    /// Values of partial `dS` and of partial `dB`.
    sums: [usize; 2],
}

impl LowRankBackward<'_> {
    /// Whether there are kernels for a group of so many layers.
    pub fn has_kernels(rank: usize, layers: usize) -> bool {
        rank.is_multiple_of(8) && rank > 0 && rank <= 64 && layers > 0 && layers <= LAYERS
    }

    fn partition(&self, kernel: &'static Kernel, steps: usize, turns: usize) -> Partition {
        let mut cuts = [Cut::default(); LAYERS];
        for (cut, layer) in cuts.iter_mut().zip(self.layers) {
            let even = layer.width.div_ceil(layer.width.div_ceil(steps * TILE).max(1));
            let chunk = even.next_multiple_of(CHUNK_UNIT);
            *cut = Cut { chunk, chunks: layer.width.div_ceil(chunk.max(1)) };
        }
        let chunks: usize = cuts.iter().map(|cut| cut.chunks).sum();
        let row_tiles = self.rows.div_ceil(TILE).max(1);
        let most_row_blocks = (AT_ONCE * turns / chunks.max(1)).max(1);
        let block_rows = row_tiles.div_ceil(most_row_blocks) * TILE;
        let row_blocks = self.rows.div_ceil(block_rows);
        let added: usize = cuts.iter().map(|cut| cut.chunks).filter(|chunks| *chunks > 1).sum();
        let outputs: usize = self.layers.iter().map(|layer| layer.width).sum();
        let sums = [added * self.rows * self.rank, row_blocks * outputs * self.rank];
        Partition { kernel, cuts, chunks, block_rows, row_blocks, sums }
    }

    /// The partition that should take the least time.
    fn best(&self) -> Result<Partition, DeviceError> {
        let missing = || DeviceError::Kernel {
            kernel: "low_rank_backward".to_owned(),
            reason: format!("there is none for {} layers of rank {}", self.layers.len(), self.rank),
        };
        if !Self::has_kernels(self.rank, self.layers.len()) {
            return Err(missing());
        }
        let kernel = KERNELS.iter().find(|kernel| self.rank <= kernel.most_rank).ok_or_else(missing)?;
        let steps = 1..=kernel.most_outputs / TILE;
        let all = steps.flat_map(|steps| (1..=MOST_TURNS).map(move |turns| (steps, turns)));
        let all = all.map(|(steps, turns)| self.partition(kernel, steps, turns));
        all.min_by_key(Partition::cost).ok_or_else(missing)
    }

    /// Bytes that a launch works in.
    ///
    /// # Errors
    /// [`DeviceError::Kernel`] where [`Self::has_kernels`] says no.
    pub fn scratch_bytes(&self) -> Result<usize, DeviceError> {
        Ok(self.best()?.scratch_bytes())
    }

    /// Bytes that launches with as many rows or fewer work in.
    ///
    /// # Errors
    /// [`DeviceError::Kernel`] where [`Self::has_kernels`] says no.
    pub fn most_scratch_bytes(&self) -> Result<usize, DeviceError> {
        let mut most = 0;
        for tiles in 1..=self.rows.div_ceil(TILE) {
            let rows = self.rows.min(tiles * TILE);
            most = most.max(Self { rows, ..*self }.scratch_bytes()?);
        }
        Ok(most)
    }

    /// Writes `dS` and adds to the gradients of `B`.
    ///
    /// # Errors
    /// [`DeviceError`] of the device; [`DeviceError::Kernel`] where [`Self::has_kernels`] says no.
    pub fn launch(
        &self,
        device: &dyn Device,
        LowRankGradients { dy, ds, s, b, scratch }: LowRankGradients,
    ) -> Result<(), DeviceError> {
        let Partition { kernel, cuts, chunks, block_rows, row_blocks, sums: [s_sums, _] } = self.best()?;
        let b_sums = scratch.at(s_sums * Element::F32.bytes());
        let layers = |index: usize| self.layers.get(index).copied().unwrap_or(LowRankLayer::NONE);
        let all: [LowRankLayer; LAYERS] = std::array::from_fn(layers);
        let mut arguments = arguments![
            scratch, b_sums, ds.address, ds.stride, dy.address, dy.stride, s.address, s.stride, b.address,
            b.stride, self.rows, self.rank, block_rows
        ]
        .to_vec();
        for (layer, cut) in all.iter().zip(cuts) {
            arguments
                .extend([layer.output, layer.width, layer.column, cut.chunk, cut.chunks].map(Argument::from));
        }
        device.launch(Launch {
            kernel: kernel.name,
            grid: [blocks(chunks, 1), blocks(row_blocks, 1), 1],
            threads: THREADS,
            shared_bytes: kernel.shared_bytes,
            arguments: &arguments,
        })?;

        let [d_b_0, d_b_1, d_b_2] = all.map(|layer| layer.d_b);
        let mut arguments = arguments![
            d_b_0, d_b_1, d_b_2, ds.address, ds.stride, scratch, b_sums, self.rows, self.rank, row_blocks,
            self.scale
        ]
        .to_vec();
        let mut grid = 0;
        for (layer, cut) in all.iter().zip(cuts) {
            arguments.extend([layer.width, layer.column, cut.chunks].map(Argument::from));
            if cut.chunks > 1 {
                grid += sum_blocks(self.rows * self.rank, cut.chunks);
            }
            grid += sum_blocks(layer.width * self.rank, row_blocks);
        }
        device.launch(Launch {
            kernel: "low_rank_sums",
            grid: [grid, 1, 1],
            threads: THREADS,
            shared_bytes: 0,
            arguments: &arguments,
        })
    }
}

impl LowRankLayer {
    const NONE: Self = Self { output: 0, width: 0, column: 0, d_b: Address::NULL };
}

impl Partition {
    fn scratch_bytes(&self) -> usize {
        self.sums.iter().sum::<usize>() * Element::F32.bytes()
    }

    /// Estimate of the time; a tile that comes from memory while all multiprocessors read takes 3 · [`AT_ONCE`]. One alone would
    /// take two thirds of that; a turn of blocks begins and ends with as long as three; sums are written and read.
    fn cost(&self) -> usize {
        let blocks = self.chunks * self.row_blocks;
        let turns = blocks.div_ceil(AT_ONCE);
        let widest = self.cuts.iter().map(|cut| cut.chunk.div_ceil(TILE)).max().unwrap_or_default();
        let tiles = self.block_rows / TILE * widest;
        turns * 3 * 3 * AT_ONCE
            + tiles * (turns * 2 * AT_ONCE).max(3 * blocks)
            + 3 * 2 * self.scratch_bytes() / TILE_BYTES
    }
}

/// Thread blocks of `low_rank_sums` for sums of `count` terms each.
fn sum_blocks(sums: usize, count: usize) -> u32 {
    let threads_of_sum = if count > TERMS { TERMS } else { 1 };
    blocks(sums, THREADS as usize * VALUES / threads_of_sum)
}

#[cfg(test)]
mod tests;
