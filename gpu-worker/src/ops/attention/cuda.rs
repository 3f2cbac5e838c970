//! Launches the kernels of `attention.cu` and `attention_backward.cu`.

use super::Heads;
use crate::cuda::{Address, Device, DeviceError, Launch, Rows, arguments, blocks};

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

/// Kernels for one width of heads.
struct Kernels {
    dim: usize,
    forward: &'static str,
    keys: &'static str,
    queries: &'static str,
}

const KERNELS: [Kernels; 5] = [
    Kernels {
        dim: 16,
        forward: "attention_d16",
        keys: "attention_backward_keys_d16",
        queries: "attention_backward_queries_d16",
    },
    Kernels {
        dim: 32,
        forward: "attention_d32",
        keys: "attention_backward_keys_d32",
        queries: "attention_backward_queries_d32",
    },
    Kernels {
        dim: 64,
        forward: "attention_d64",
        keys: "attention_backward_keys_d64",
        queries: "attention_backward_queries_d64",
    },
    Kernels {
        dim: 128,
        forward: "attention_d128",
        keys: "attention_backward_keys_d128",
        queries: "attention_backward_queries_d128",
    },
    Kernels {
        dim: 256,
        forward: "attention_d256",
        keys: "attention_backward_keys_d256",
        queries: "attention_backward_queries_d256",
    },
];

/// Widths of heads that there are kernels for.
pub fn has_kernels(dim: usize) -> bool {
    KERNELS.iter().any(|kernels| kernels.dim == dim)
}

fn kernels(dim: usize) -> Result<&'static Kernels, DeviceError> {
    KERNELS.iter().find(|kernels| kernels.dim == dim).ok_or_else(|| DeviceError::Kernel {
        kernel: "attention".to_owned(),
        reason: format!("there is none for heads {dim} wide"),
    })
}

impl PackedAttention {
    fn window(self) -> usize {
        self.heads.window.unwrap_or_default()
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
        let kernels = kernels(dim)?;
        device.launch(Launch {
            kernel: kernels.forward,
            grid: [blocks(self.rows, 64), blocks(query_heads, 1), 1],
            threads: 128,
            shared_bytes: 0,
            arguments: arguments![
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
        })
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
        let kernels = kernels(dim)?;
        device.launch(Launch {
            kernel: "attention_delta",
            grid: [blocks(self.rows * query_heads, 8), 1, 1],
            threads: 256,
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
        })?;
        device.launch(Launch {
            kernel: kernels.keys,
            grid: [blocks(self.rows, 64), blocks(key_value, 1), 1],
            threads: 128,
            shared_bytes: 0,
            arguments: arguments![
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
        })?;
        device.launch(Launch {
            kernel: kernels.queries,
            grid: [blocks(self.rows, 64), blocks(query_heads, 1), 1],
            threads: 128,
            shared_bytes: 0,
            arguments: arguments![
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
        })
    }
}
