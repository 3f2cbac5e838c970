//! Launches the kernels of `rope.cu`: normalisation of heads, where a model has it, and rotary embedding.

use crate::cuda::{Address, Device, DeviceError, Rows, arguments, launch_strided};

/// How the heads of a row are normalised and rotated: queries first, then keys, then as many values.
#[derive(Debug, Clone, Copy)]
pub struct HeadRotation {
    /// `[positions, dim / 2]` in f32.
    pub cosines: Address,
    /// As the cosines.
    pub sines: Address,
    /// Position of each row.
    pub positions: Address,
    /// Weights `[dim]` of queries' and keys' normalisation, where heads are normalised.
    pub norms: Option<[Address; 2]>,
    /// Query heads.
    pub query_heads: usize,
    /// Key heads.
    pub key_heads: usize,
    /// Width of a head.
    pub dim: usize,
    /// Added to the mean square.
    pub eps: f32,
}

impl HeadRotation {
    fn launch(
        self,
        device: &dyn Device,
        kernel: &'static str,
        out: Rows,
        x: Option<Rows>,
        rows: usize,
    ) -> Result<(), DeviceError> {
        let [query, key] = self.norms.map_or([None; 2], |norms| norms.map(Some));
        let values = rows * (self.query_heads + 2 * self.key_heads) * self.dim;
        let arguments = arguments![
            out.address,
            out.stride,
            x.map(|x| x.address),
            x.map_or(0, |x| x.stride),
            self.cosines,
            self.sines,
            self.positions,
            query,
            key,
            rows,
            self.query_heads,
            self.key_heads,
            self.dim,
            self.eps
        ];
        launch_strided(device, kernel, values, arguments)
    }

    /// Normalises and rotates queries and keys of `x` into `out`, and copies the values; `out` may be `x` where nothing is normalised.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn forward(self, device: &dyn Device, out: Rows, x: Rows, rows: usize) -> Result<(), DeviceError> {
        self.launch(device, "head_norm_rope", out, Some(x), rows)
    }

    /// Turns the gradient `d` of the result into that of `x`, in place; `x` is needed where heads are normalised.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn backward(
        self,
        device: &dyn Device,
        d: Rows,
        x: Option<Rows>,
        rows: usize,
    ) -> Result<(), DeviceError> {
        self.launch(device, "head_norm_rope_backward", d, x, rows)
    }
}

#[cfg(test)]
mod tests;
