//! Launches the kernels of `rms_norm.cu`.

use crate::cuda::{Address, Argument, Device, DeviceError, Launch, Rows, THREADS, arguments, blocks};

/// A normalisation of rows with a frozen weight.
#[derive(Debug, Clone, Copy)]
pub struct Norm {
    /// `[width]` in f32.
    pub weight: Address,
    /// Width of a row.
    pub width: usize,
    /// Added to the mean square.
    pub eps: f32,
}

impl Norm {
    fn launch(
        self,
        device: &dyn Device,
        kernel: &'static str,
        rows: usize,
        arguments: &[Argument],
    ) -> Result<(), DeviceError> {
        let per_block = match self.width {
            ..=1024 => 8,
            1025..=2048 => 2,
            _ => 1,
        };
        device.launch(Launch {
            kernel,
            grid: [blocks(rows, per_block), 1, 1],
            threads: THREADS,
            shared_bytes: 0,
            arguments,
        })
    }

    /// Normalises row `index[i]` of `x`, or row `i` without an index, into row `i` of `out`.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn forward(
        self,
        device: &dyn Device,
        out: Rows,
        x: Rows,
        index: Option<Address>,
        rows: usize,
    ) -> Result<(), DeviceError> {
        let arguments = arguments![
            out.address,
            out.stride,
            x.address,
            x.stride,
            self.weight,
            index,
            rows,
            self.width,
            self.eps
        ];
        self.launch(device, "rms_norm", rows, arguments)
    }

    /// `out = residual + norm(x)`; `out` may be `residual`.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn add(
        self,
        device: &dyn Device,
        out: Rows,
        residual: Rows,
        x: Rows,
        rows: usize,
    ) -> Result<(), DeviceError> {
        let arguments = arguments![
            out.address,
            out.stride,
            residual.address,
            residual.stride,
            x.address,
            x.stride,
            self.weight,
            rows,
            self.width,
            self.eps
        ];
        self.launch(device, "rms_norm_add", rows, arguments)
    }

    /// Writes the gradient for `x` into `dx`, or adds it; with an index both `x` and `dx` are read and written at `index[i]`.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn backward(
        self,
        device: &dyn Device,
        NormBackward { dx, x, dy, index, accumulate }: NormBackward,
        rows: usize,
    ) -> Result<(), DeviceError> {
        let arguments = arguments![
            dx.address,
            dx.stride,
            x.address,
            x.stride,
            self.weight,
            dy.address,
            dy.stride,
            index,
            rows,
            self.width,
            self.eps,
            accumulate
        ];
        self.launch(device, "rms_norm_backward", rows, arguments)
    }
}

/// Operands of a normalisation's backward pass.
#[derive(Debug, Clone, Copy)]
pub struct NormBackward {
    /// Gradient of the input.
    pub dx: Rows,
    /// The input.
    pub x: Rows,
    /// Gradient of the output.
    pub dy: Rows,
    /// Rows of `x` and `dx`.
    pub index: Option<Address>,
    /// Whether the gradient is added.
    pub accumulate: bool,
}

#[cfg(test)]
mod tests;
