//! Launches the kernels of `attention_cached.cu`.

use super::{Heads, Projected};
use crate::cuda::{Address, Device, DeviceError, Launch, Rows, arguments, int_bytes, launch_strided};

/// Bytes of one row in the table: cache (8), capacity and position (4 each).
pub const ROW_BYTES: usize = 16;
/// Threads of a block.
const THREADS: u32 = 128;
/// Query heads of one block, at most.
const HEADS_AT_ONCE: usize = 4;
/// Blocks that a GPU runs at once; keys are split where there are fewer: three on each of the 132 processors of an H100.
const BLOCKS: usize = 396;
/// Keys of one split, at least.
const SPLIT_KEYS: usize = 128;

/// Where a new token's keys and values go.
#[derive(Debug, Clone, Copy)]
pub struct CachedRow {
    /// Its sequence's cache `[layers][2][capacity, key-value width]` in bf16.
    pub cache: Address,
    /// Tokens that there is room for.
    pub capacity: usize,
    /// The token's place in the sequence.
    pub position: usize,
}

impl CachedRow {
    /// As the kernels read it.
    pub fn bytes(self) -> [u8; ROW_BYTES] {
        let fields = self
            .cache
            .0
            .to_le_bytes()
            .into_iter()
            .chain(int_bytes(self.capacity))
            .chain(int_bytes(self.position));
        let mut bytes = [0; ROW_BYTES];
        bytes.iter_mut().zip(fields).for_each(|(into, byte)| *into = byte);
        bytes
    }
}

/// New tokens of sequences with caches, in one layer.
#[derive(Debug, Clone, Copy)]
pub struct CachedAttention {
    /// Layout of the heads.
    pub heads: Heads,
    /// The layer.
    pub layer: usize,
    /// A [`CachedRow`] for each row.
    pub table: Address,
    /// How many rows.
    pub rows: usize,
}

/// How the keys of a pass are spread over blocks.
fn splits(heads: Heads, rows: usize, longest: usize) -> usize {
    let keys = heads.window.map_or(longest, |window| longest.min(window));
    (BLOCKS / (rows * groups(heads)).max(1)).min(keys.div_ceil(SPLIT_KEYS)).max(1)
}

/// Blocks of one row and split.
fn groups(heads: Heads) -> usize {
    heads.key_value * (heads.query / heads.key_value.max(1)).div_ceil(HEADS_AT_ONCE)
}

/// Values in f32 that [`CachedAttention::forward`] needs room for, at most.
pub fn scratch_values(heads: Heads) -> usize {
    BLOCKS * HEADS_AT_ONCE * (heads.dim + 2)
}

impl CachedAttention {
    /// Puts the rows' keys and values into their caches.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn store(
        self,
        device: &dyn Device,
        Projected { key, value, .. }: Projected,
    ) -> Result<(), DeviceError> {
        let width = self.heads.key_value_width();
        let arguments =
            arguments![self.table, key.address, value.address, key.stride, self.rows, width, self.layer];
        launch_strided(device, "store_keys_values", self.rows * width, arguments)
    }

    /// Writes each query's mean of the values in its cache up to its own to `out`. `longest` is at least the number of tokens of
    /// the longest sequence; at `scratch` there is room for [`scratch_values`].
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn forward(
        self,
        device: &dyn Device,
        (out, query): (Rows, Rows),
        longest: usize,
        scratch: Address,
    ) -> Result<(), DeviceError> {
        let Self { heads, layer, table, rows } = self;
        let splits = splits(heads, rows, longest);
        let stats = scratch.at(4 * rows * heads.query * splits * heads.dim);
        let arguments = arguments![
            out.address,
            out.stride,
            scratch,
            stats,
            query.address,
            query.stride,
            table,
            heads.query,
            heads.key_value,
            heads.scale(),
            heads.window.unwrap_or_default(),
            layer
        ];
        let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        device.launch(Launch {
            kernel: kernel(heads.dim)?,
            grid: [count(rows), count(groups(heads)), count(splits)],
            threads: THREADS,
            shared_bytes: 0,
            arguments,
        })?;
        if splits == 1 {
            return Ok(());
        }
        let arguments =
            arguments![out.address, out.stride, scratch, stats, rows, heads.query, heads.dim, splits];
        launch_strided(device, "attention_cached_combine", 8 * rows * heads.query_width(), arguments)
    }
}

fn kernel(dim: usize) -> Result<&'static str, DeviceError> {
    match dim {
        16 => Ok("attention_cached_d16"),
        32 => Ok("attention_cached_d32"),
        64 => Ok("attention_cached_d64"),
        128 => Ok("attention_cached_d128"),
        256 => Ok("attention_cached_d256"),
        _ => Err(DeviceError::Kernel {
            kernel: "attention_cached".to_owned(),
            reason: format!("there is none for heads {dim} wide"),
        }),
    }
}

#[cfg(test)]
mod tests;
