//! Launches the kernels of `attention.cu`, of the two `attention_backward*.cu`, and what stands for them on Hopper.

pub mod cached;

use super::Heads;
use crate::cuda::{Address, Argument, Device, DeviceError, Launch, Rows, THREADS, arguments, blocks};

/// Which keys the queries of packed documents see, and how heads are laid out.
#[derive(Debug, Clone, Copy)]
pub struct PackedAttention {
    /// Layout of the heads.
    pub heads: Heads,
    /// Rows of all documents.
    pub rows: usize,
    /// First row of each row's document.
    pub starts: Address,
    /// One past the last row of each row's document.
    pub ends: Address,
}

/// Queries, keys and values, which lie in the same rows.
#[derive(Debug, Clone, Copy)]
pub struct Projected {
    /// Queries.
    pub query: Rows,
    /// Keys; the stride of the queries.
    pub key: Rows,
    /// Values; the stride of the queries.
    pub value: Rows,
}

/// What the backward pass of attention reads beside queries, keys and values.
#[derive(Debug, Clone, Copy)]
pub struct AttentionGradient {
    /// What attention gave.
    pub out: Rows,
    /// Its gradient.
    pub d_out: Rows,
    /// Log-sums of the forward pass, `[heads, rows]` in f32.
    pub log_sums: Address,
    /// Room for `[heads, rows]` in f32.
    pub delta: Address,
}

/// How a kernel is launched, as its source says.
struct Plan {
    kernel: &'static str,
    /// Rows of one thread block.
    rows: usize,
    threads: u32,
    shared_bytes: u32,
}

impl Plan {
    const fn new(kernel: &'static str, rows: usize, threads: u32, shared_bytes: u32) -> Self {
        Self { kernel, rows, threads, shared_bytes }
    }
}

/// Kernels for one width of heads.
struct Kernels {
    dim: usize,
    forward: Plan,
    keys: Plan,
    queries: Plan,
}

const KERNELS: [Kernels; 5] = [
    Kernels {
        dim: 16,
        forward: Plan::new("attention_d16", 128, 128, 12_800),
        keys: Plan::new("attention_backward_keys_d16", 128, 256, 55_552),
        queries: Plan::new("attention_backward_queries_d16", 128, 128, 12_800),
    },
    Kernels {
        dim: 32,
        forward: Plan::new("attention_d32", 128, 128, 25_088),
        keys: Plan::new("attention_backward_keys_d32", 128, 256, 76_032),
        queries: Plan::new("attention_backward_queries_d32", 128, 128, 25_088),
    },
    Kernels {
        dim: 64,
        forward: Plan::new("attention_d64", 128, 128, 49_664),
        keys: Plan::new("attention_backward_keys_d64", 128, 256, 116_992),
        queries: Plan::new("attention_backward_queries_d64", 128, 128, 49_664),
    },
    Kernels {
        dim: 128,
        forward: Plan::new("attention_d128", 128, 128, 98_816),
        keys: Plan::new("attention_backward_keys_d128", 128, 256, 132_224),
        queries: Plan::new("attention_backward_queries_d128", 128, 128, 98_816),
    },
    Kernels {
        dim: 256,
        forward: Plan::new("attention_d256", 128, 256, 131_584),
        keys: Plan::new("attention_backward_keys_d256", 64, 256, 107_648),
        queries: Plan::new("attention_backward_queries_d256", 64, 128, 131_328),
    },
];

/// Those for GPUs that multiply by warpgroups.
const HOPPER_KERNELS: [Kernels; 2] = [
    Kernels {
        dim: 64,
        forward: Plan::new("attention_hopper_d64", 128, 256, 49_152),
        keys: Plan::new("attention_backward_keys_hopper_d64", 128, 256, 134_144),
        queries: Plan::new("attention_backward_queries_hopper_d64", 128, 256, 131_072),
    },
    Kernels {
        dim: 128,
        forward: Plan::new("attention_hopper_d128", 128, 256, 163_840),
        keys: Plan::new("attention_backward_keys_hopper_d128", 128, 256, 165_376),
        queries: Plan::new("attention_backward_queries_hopper_d128", 128, 256, 163_840),
    },
];

/// Widths of heads that there are kernels for.
pub fn has_kernels(dim: usize) -> bool {
    KERNELS.iter().any(|kernels| kernels.dim == dim)
}

/// The fastest for a width of heads that a device has.
fn kernels(device: &dyn Device, dim: usize) -> Result<&'static Kernels, DeviceError> {
    if let Some(kernels) = HOPPER_KERNELS.iter().find(|kernels| kernels.dim == dim)
        && device.has_kernel(kernels.forward.kernel)?
    {
        return Ok(kernels);
    }
    KERNELS.iter().find(|kernels| kernels.dim == dim).ok_or_else(|| DeviceError::Kernel {
        kernel: "attention".to_owned(),
        reason: format!("there is none for heads {dim} wide"),
    })
}

impl PackedAttention {
    fn window(self) -> usize {
        self.heads.window.unwrap_or_default()
    }

    fn launch(
        self,
        device: &dyn Device,
        Plan { kernel, rows, threads, shared_bytes }: &Plan,
        heads: usize,
        arguments: &[Argument],
    ) -> Result<(), DeviceError> {
        let grid = [blocks(heads, 1), blocks(self.rows, *rows), 1];
        let (threads, shared_bytes) = (*threads, *shared_bytes);
        device.launch(Launch { kernel, grid, threads, shared_bytes, arguments })
    }

    /// Writes each query's mean of values to `out`, and the logarithm of its sum of weights to `log_sums`, `[heads, rows]` in f32.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn forward(
        self,
        device: &dyn Device,
        out: Rows,
        log_sums: Address,
        Projected { query, key, value }: Projected,
    ) -> Result<(), DeviceError> {
        let Heads { query: query_heads, key_value, dim, .. } = self.heads;
        let kernels = kernels(device, dim)?;
        self.launch(
            device,
            &kernels.forward,
            query_heads,
            arguments![
                out.address,
                out.stride,
                log_sums,
                query.address,
                key.address,
                value.address,
                query.stride,
                self.starts,
                self.rows,
                query_heads,
                key_value,
                self.heads.scale(),
                self.window()
            ],
        )
    }

    /// Writes the gradients of queries, keys and values, which lie in the same rows.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn backward(
        self,
        device: &dyn Device,
        d: Projected,
        Projected { query, key, value }: Projected,
        AttentionGradient { out, d_out, log_sums, delta }: AttentionGradient,
    ) -> Result<(), DeviceError> {
        let Heads { query: query_heads, key_value, dim, .. } = self.heads;
        let kernels = kernels(device, dim)?;
        self.sums_of_products(device, (out, d_out), delta)?;
        self.launch(
            device,
            &kernels.keys,
            key_value,
            arguments![
                d.key.address,
                d.value.address,
                d.key.stride,
                query.address,
                key.address,
                value.address,
                query.stride,
                d_out.address,
                d_out.stride,
                log_sums,
                delta,
                self.starts,
                self.ends,
                self.rows,
                query_heads,
                key_value,
                self.heads.scale(),
                self.window()
            ],
        )?;
        self.launch(
            device,
            &kernels.queries,
            query_heads,
            arguments![
                d.query.address,
                d.query.stride,
                query.address,
                key.address,
                value.address,
                query.stride,
                d_out.address,
                d_out.stride,
                log_sums,
                delta,
                self.starts,
                self.rows,
                query_heads,
                key_value,
                self.heads.scale(),
                self.window()
            ],
        )
    }

    /// The sum of `out · d_out` of each query.
    fn sums_of_products(
        self,
        device: &dyn Device,
        (out, d_out): (Rows, Rows),
        delta: Address,
    ) -> Result<(), DeviceError> {
        let Heads { query: query_heads, dim, .. } = self.heads;
        device.launch(Launch {
            kernel: "attention_delta",
            grid: [blocks(self.rows * query_heads * dim, 8 * THREADS as usize), 1, 1],
            threads: THREADS,
            shared_bytes: 0,
            arguments: arguments![
                delta,
                out.address,
                out.stride,
                d_out.address,
                d_out.stride,
                self.rows,
                query_heads,
                dim
            ],
        })
    }
}

#[cfg(test)]
mod tests;
