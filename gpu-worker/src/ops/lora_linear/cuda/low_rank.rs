//! Launches the kernels of `low_rank.cu` and `low_rank_forward.cu`.

mod partition;

use crate::cuda::{
    Address, Argument, Device, DeviceError, Element, Launch, Rows, THREADS, arguments, blocks,
};
use partition::{Cut, Kernel, LAYERS, Partition, Work};

const BACKWARD: [Kernel; 3] = [
    Kernel { name: "low_rank_backward_r16", most_rank: 16, most_outputs: 512, shared_bytes: 163_840 },
    Kernel { name: "low_rank_backward_r32", most_rank: 32, most_outputs: 512, shared_bytes: 155_648 },
    Kernel { name: "low_rank_backward_r64", most_rank: 64, most_outputs: 256, shared_bytes: 131_072 },
];
const A_BACKWARD: [Kernel; 3] = [
    Kernel { name: "low_rank_a_r16", most_rank: 16, most_outputs: 512, shared_bytes: 147_456 },
    Kernel { name: "low_rank_a_r32", most_rank: 32, most_outputs: 512, shared_bytes: 163_840 },
    Kernel { name: "low_rank_a_r64", most_rank: 64, most_outputs: 256, shared_bytes: 147_456 },
];
/// Each with its greatest width and its shared memory.
const FORWARD: [(&str, usize, u32); 4] = [
    ("low_rank_forward_n16", 16, 102_400),
    ("low_rank_forward_n32", 32, 98_304),
    ("low_rank_forward_n48", 48, 114_688),
    ("low_rank_forward_n64", 64, 98_304),
];
/// Rows of a thread block of the latter.
const FORWARD_ROWS: usize = 64;
/// Widest update that there are kernels for.
const MOST_RANK: usize = 64;
/// Values that a thread of `low_rank_sums` adds up, and how many terms it takes alone.
const VALUES: usize = 4;
const TERMS: usize = 8;

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

impl LowRankBackward<'_> {
    /// Whether there are kernels for a group of so many updated layers.
    pub fn has_kernels(rank: usize, layers: usize) -> bool {
        is_width(rank) && (1..=LAYERS).contains(&layers)
    }

    fn all(&self) -> Result<[LowRankLayer; LAYERS], DeviceError> {
        if !Self::has_kernels(self.rank, self.layers.len()) {
            return Err(missing("low_rank_backward", self.rank));
        }
        Ok(std::array::from_fn(|index| self.layers.get(index).copied().unwrap_or(LowRankLayer::NONE)))
    }

    fn work(&self) -> Result<Work, DeviceError> {
        let widths = self.all()?.map(|layer| layer.width);
        Ok(Work { rows: self.rows, rank: self.rank, widths, with_s: true })
    }

    fn partition(&self) -> Result<Partition, DeviceError> {
        self.work()?.partition(&BACKWARD).ok_or_else(|| missing("low_rank_backward", self.rank))
    }

    /// Bytes that a launch works in.
    ///
    /// # Errors
    /// [`DeviceError::Kernel`] where [`Self::has_kernels`] says no.
    pub fn scratch_bytes(&self) -> Result<usize, DeviceError> {
        Ok(self.partition()?.bytes())
    }

    /// Bytes that any launch with as many rows or fewer works in.
    ///
    /// # Errors
    /// [`DeviceError::Kernel`] where [`Self::has_kernels`] says no.
    pub fn most_scratch_bytes(&self) -> Result<usize, DeviceError> {
        Ok(self.work()?.most_bytes(&BACKWARD).unwrap_or_default())
    }

    /// Writes `dS` and adds to the gradients of `B`.
    ///
    /// # Errors
    /// [`DeviceError`] of the device; [`DeviceError::Kernel`] where [`Self::has_kernels`] says no.
    pub fn launch(&self, device: &dyn Device, operands: LowRankGradients) -> Result<(), DeviceError> {
        let LowRankGradients { dy, ds, s, b, scratch } = operands;
        let (layers, partition) = (self.all()?, self.partition()?);
        let Partition { cuts, block_rows, row_blocks, sums: [s_sums, _], .. } = partition;
        let b_sums = scratch.at(s_sums * Element::F32.bytes());
        let mut arguments =
            arguments![scratch, b_sums, ds.address, ds.stride, dy.address, dy.stride].to_vec();
        arguments
            .extend(arguments![s.address, s.stride, b.address, b.stride, self.rows, self.rank, block_rows]);
        for (layer, Cut { chunk, chunks }) in layers.iter().zip(cuts) {
            arguments.extend([layer.output, layer.width, layer.column, chunk, chunks].map(Argument::from));
        }
        partition.launch(device, &arguments)?;

        let mut arguments: Vec<Argument> = layers.iter().map(|layer| layer.d_b.into()).collect();
        arguments.extend(arguments![ds.address, ds.stride, scratch, b_sums, self.rows, self.rank]);
        arguments.extend(arguments![row_blocks, self.scale, 0]);
        let mut grid = 0;
        for (layer, Cut { chunks, .. }) in layers.iter().zip(cuts) {
            arguments.extend([layer.width, layer.column, chunks].map(Argument::from));
            if chunks > 1 {
                grid += sum_blocks(self.rows * self.rank, chunks);
            }
            grid += sum_blocks(layer.width * self.rank, row_blocks);
        }
        add_sums(device, grid, &arguments)
    }
}

/// The gradient of the stacked `A` of a group, `dA += dSᵀ·X`.
#[derive(Debug, Clone, Copy)]
pub struct LowRankABackward {
    /// Rows of `X`.
    pub rows: usize,
    /// Width of `X`; a multiple of 8.
    pub inputs: usize,
    /// Columns of `dS`; a multiple of 8.
    pub low_rank: usize,
}

impl LowRankABackward {
    /// Whether there are kernels for so many columns of `dS`.
    pub fn has_kernels(low_rank: usize) -> bool {
        is_width(low_rank)
    }

    fn work(&self) -> Work {
        Work { rows: self.rows, rank: self.low_rank, widths: [self.inputs, 0, 0], with_s: false }
    }

    /// Bytes that any launch with as many rows or fewer works in.
    ///
    /// # Errors
    /// [`DeviceError::Kernel`] where [`Self::has_kernels`] says no.
    pub fn most_scratch_bytes(&self) -> Result<usize, DeviceError> {
        self.work().most_bytes(&A_BACKWARD).ok_or_else(|| missing("low_rank_a", self.low_rank))
    }

    /// Adds to `d_a`, `[low_rank, inputs]` in f32.
    ///
    /// # Errors
    /// [`DeviceError`] of the device; [`DeviceError::Kernel`] where [`Self::has_kernels`] says no.
    pub fn launch(
        &self,
        device: &dyn Device,
        d_a: Address,
        [x, ds]: [Rows; 2],
        scratch: Address,
    ) -> Result<(), DeviceError> {
        let Self { rows, inputs, low_rank } = *self;
        let partition = self.work().partition(&A_BACKWARD).ok_or_else(|| missing("low_rank_a", low_rank))?;
        let Partition { cuts: [Cut { chunk, chunks }, ..], block_rows, row_blocks, .. } = partition;
        let mut arguments = arguments![scratch, x.address, x.stride, ds.address, ds.stride].to_vec();
        arguments.extend([rows, low_rank, block_rows, inputs, chunk, chunks].map(Argument::from));
        partition.launch(device, &arguments)?;

        let none = Address::NULL;
        let mut arguments =
            arguments![d_a, none, none, none, 0, none, scratch, rows, low_rank, row_blocks].to_vec();
        arguments.extend(arguments![1.0_f32, inputs, inputs]);
        arguments.resize(arguments.len() + 8, Argument::Int(0));
        add_sums(device, sum_blocks(inputs * low_rank, row_blocks), &arguments)
    }
}

/// Whether there is a kernel of [`low_rank_forward`] for so many columns of `S`.
pub fn has_low_rank_forward(low_rank: usize) -> bool {
    is_width(low_rank)
}

/// `S = X·Aᵀ`, with `S` `[rows, low_rank]`, `X` `[rows, inputs]` and `A` `[low_rank, inputs]`; `S` may be further columns of `X`.
///
/// # Errors
/// [`DeviceError`] of the device; [`DeviceError::Kernel`] where [`has_low_rank_forward`] says no.
pub fn low_rank_forward(
    device: &dyn Device,
    s: Rows,
    [x, a]: [Rows; 2],
    [rows, inputs, low_rank]: [usize; 3],
) -> Result<(), DeviceError> {
    let kernel = FORWARD.iter().find(|(_, most, _)| is_width(low_rank) && low_rank <= *most);
    let (kernel, _, shared_bytes) = *kernel.ok_or_else(|| missing("low_rank_forward", low_rank))?;
    device.launch(Launch {
        kernel,
        grid: [blocks(rows, FORWARD_ROWS), 1, 1],
        threads: THREADS,
        shared_bytes,
        arguments: arguments![
            s.address, s.stride, x.address, x.stride, a.address, a.stride, rows, inputs, low_rank
        ],
    })
}

fn is_width(rank: usize) -> bool {
    rank > 0 && rank <= MOST_RANK && rank.is_multiple_of(8)
}

fn missing(kernel: &str, rank: usize) -> DeviceError {
    let reason = format!("there is none for updates {rank} wide, or for so many layers");
    DeviceError::Kernel { kernel: kernel.to_owned(), reason }
}

impl LowRankLayer {
    const NONE: Self = Self { output: 0, width: 0, column: 0, d_b: Address::NULL };
}

impl Partition {
    fn launch(&self, device: &dyn Device, arguments: &[Argument]) -> Result<(), DeviceError> {
        device.launch(Launch {
            kernel: self.kernel.name,
            grid: [blocks(self.chunks, 1), blocks(self.row_blocks, 1), 1],
            threads: THREADS,
            shared_bytes: self.kernel.shared_bytes,
            arguments,
        })
    }
}

/// Thread blocks of `low_rank_sums` for sums of `count` terms each.
fn sum_blocks(sums: usize, count: usize) -> u32 {
    let threads_of_sum = if count > TERMS { TERMS } else { 1 };
    blocks(sums, THREADS as usize * VALUES / threads_of_sum)
}

fn add_sums(device: &dyn Device, blocks: u32, arguments: &[Argument]) -> Result<(), DeviceError> {
    let (grid, threads) = ([blocks, 1, 1], THREADS);
    device.launch(Launch { kernel: "low_rank_sums", grid, threads, shared_bytes: 0, arguments })
}

#[cfg(test)]
mod tests;
