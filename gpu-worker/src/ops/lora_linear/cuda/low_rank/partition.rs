//! How sums over one reading of a matrix are cut into thread blocks.

use crate::cuda::Element;

/// Layers that a launch can have.
pub(super) const LAYERS: usize = 3;
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

/// How a kernel is launched, as its source says.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) name: &'static str,
    pub(super) most_rank: usize,
    pub(super) most_outputs: usize,
    pub(super) shared_bytes: u32,
}

/// What is to be cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) rows: usize,
    pub(super) rank: usize,
    /// Outputs of each layer.
    pub(super) widths: [usize; LAYERS],
    /// Whether sums over outputs are wanted beside those over rows.
    pub(super) with_s: bool,
}

/// A layer's outputs, cut.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cut {
    pub(super) chunk: usize,
    pub(super) chunks: usize,
}

/// How the work is cut.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) kernel: &'static Kernel,
    pub(super) cuts: [Cut; LAYERS],
    pub(super) chunks: usize,
    pub(super) block_rows: usize,
    pub(super) row_blocks: usize,
    /// Values of the sums over outputs and of those over rows.
    pub(super) sums: [usize; 2],
}

impl Work {
    /// The partition that should take the least time; `None` without a kernel for the rank.
    pub(super) fn partition(&self, kernels: &'static [Kernel]) -> Option<Partition> {
        if self.rank == 0 || !self.rank.is_multiple_of(8) {
            return None;
        }
        let kernel = kernels.iter().find(|kernel| self.rank <= kernel.most_rank)?;
        let tiles = 1..=kernel.most_outputs / TILE;
        let all = tiles.flat_map(|tiles| (1..=MOST_TURNS).map(move |turns| (tiles, turns)));
        all.map(|(tiles, turns)| self.cut(kernel, tiles, turns)).min_by_key(Partition::cost)
    }

    /// Bytes of sums for as many rows, or fewer if those take more.
    pub(super) fn most_bytes(&self, kernels: &'static [Kernel]) -> Option<usize> {
        let counts = (1..=self.rows.div_ceil(TILE)).map(|tiles| self.rows.min(tiles * TILE));
        counts.map(|rows| Some(Self { rows, ..*self }.partition(kernels)?.bytes())).max()?
    }

    /// Chunks of at most so many tiles, and row blocks for at most so many turns.
    fn cut(&self, kernel: &'static Kernel, tiles: usize, turns: usize) -> Partition {
        let cuts = self.widths.map(|width| {
            let even = width.div_ceil(width.div_ceil(tiles * TILE).max(1));
            let chunk = even.next_multiple_of(CHUNK_UNIT);
            Cut { chunk, chunks: width.div_ceil(chunk.max(1)) }
        });
        let chunks: usize = cuts.iter().map(|cut| cut.chunks).sum();
        let most_row_blocks = (AT_ONCE * turns / chunks.max(1)).max(1);
        let block_rows = self.rows.div_ceil(TILE).max(1).div_ceil(most_row_blocks) * TILE;
        let row_blocks = self.rows.div_ceil(block_rows);
        let added = cuts.iter().map(|cut| cut.chunks).filter(|chunks| self.with_s && *chunks > 1);
        let outputs: usize = self.widths.iter().sum();
        let sums = [added.sum::<usize>() * self.rows * self.rank, row_blocks * outputs * self.rank];
        Partition { kernel, cuts, chunks, block_rows, row_blocks, sums }
    }
}

impl Partition {
    /// Bytes of all sums.
    pub(super) fn bytes(&self) -> usize {
        self.sums.iter().sum::<usize>() * Element::F32.bytes()
    }

    /// Estimate of the time, where a tile takes 3 · [`AT_ONCE`] while all multiprocessors read from memory. Alone it would take two
    /// thirds of that; a turn of blocks begins and ends with as long as three; sums are written and read.
    fn cost(&self) -> usize {
        let blocks = self.chunks * self.row_blocks;
        let turns = blocks.div_ceil(AT_ONCE);
        let widest = self.cuts.iter().map(|cut| cut.chunk.div_ceil(TILE)).max().unwrap_or_default();
        let tiles = self.block_rows / TILE * widest;
        turns * 3 * 3 * AT_ONCE
            + tiles * (turns * 2 * AT_ONCE).max(3 * blocks)
            + 3 * 2 * self.bytes() / TILE_BYTES
    }
}
