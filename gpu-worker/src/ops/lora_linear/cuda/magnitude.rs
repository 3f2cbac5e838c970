//! Launches the kernels of `magnitude.cu`.

use crate::cuda::{Address, Device, DeviceError, Launch, Rows, THREADS, arguments, blocks, launch_strided};

/// Columns of a thread block.
const COLUMNS: usize = 256;
/// Rows that one thread block sums.
const ROWS: usize = 128;
/// Rows of a thread block where a warp takes one.
const WARPS: usize = THREADS as usize / 32;

/// Values in f32 of scratch that the gradient of magnitudes takes, for so many rows and columns.
pub fn partial_sums([rows, width]: [usize; 2]) -> usize {
    rows.div_ceil(ROWS) * width
}

/// Outputs before their magnitudes, and what becomes of them.
#[derive(Debug, Clone, Copy)]
pub struct ScaledColumns {
    /// Receives the outputs.
    pub out: Rows,
    /// Outputs before their magnitudes.
    pub plain: Rows,
    /// What each column is multiplied by, in f32.
    pub gains: Address,
    /// Added to each row, in bf16.
    pub bias: Option<Address>,
    /// Added to the outputs; may be where they go.
    pub residual: Option<Rows>,
}

impl ScaledColumns {
    /// `out = gains ⊙ plain + bias + residual`; the width is a multiple of 8.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn forward(&self, device: &dyn Device, [rows, width]: [usize; 2]) -> Result<(), DeviceError> {
        let Self { out, plain, gains, bias, residual } = *self;
        let residual = residual.unwrap_or(Rows::new(Address::NULL, 0));
        let arguments = arguments![
            out.address,
            out.stride,
            plain.address,
            plain.stride,
            gains,
            bias,
            residual.address,
            residual.stride,
            rows,
            width,
        ];
        launch_strided(device, "scale_columns", rows * width, arguments)
    }
}

/// Operands of the backward pass of [`ScaledColumns`].
#[derive(Debug, Clone, Copy)]
pub struct MagnitudeGradient {
    /// Receives the gradient of the outputs before their magnitudes; may be `d_out`.
    pub d_plain: Rows,
    /// Gradient of the outputs.
    pub d_out: Rows,
    /// Outputs before their magnitudes.
    pub plain: Rows,
    /// What each column is multiplied by, in f32.
    pub gains: Address,
    /// The length of each column's weights, in f32; infinite where there is no magnitude.
    pub norms: Address,
    /// What the gradient of the magnitudes is added to, in f32.
    pub d_magnitudes: Address,
    /// As much as [`partial_sums`] says, in f32.
    pub scratch: Address,
}

impl MagnitudeGradient {
    /// `d_plain = gains ⊙ d_out` and `d_magnitudes += Σ d_out ⊙ plain / norms` over the rows.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn backward(&self, device: &dyn Device, [rows, width]: [usize; 2]) -> Result<(), DeviceError> {
        let Self { d_plain, d_out, plain, gains, norms, d_magnitudes, scratch } = *self;
        let runs = rows.div_ceil(ROWS);
        device.launch(Launch {
            kernel: "scale_columns_backward",
            grid: [blocks(width, COLUMNS), blocks(rows, ROWS), 1],
            threads: THREADS,
            shared_bytes: 0,
            arguments: arguments![
                d_plain.address,
                d_plain.stride,
                d_out.address,
                d_out.stride,
                plain.address,
                plain.stride,
                gains,
                scratch,
                rows,
                width,
            ],
        })?;
        device.launch(Launch {
            kernel: "add_column_sums",
            grid: [blocks(width, COLUMNS), 1, 1],
            threads: THREADS,
            shared_bytes: 0,
            arguments: arguments![d_magnitudes, scratch, norms, runs, width],
        })
    }
}

/// Writes the sum of squares of each row to `out` in f32; the width is a multiple of 8.
///
/// # Errors
/// [`DeviceError`] of the device.
pub fn row_squares(
    device: &dyn Device,
    out: Address,
    x: Rows,
    [rows, width]: [usize; 2],
) -> Result<(), DeviceError> {
    device.launch(Launch {
        kernel: "row_squares",
        grid: [blocks(rows, WARPS).min(4096), 1, 1],
        threads: THREADS,
        shared_bytes: 0,
        arguments: arguments![out, x.address, x.stride, rows, width],
    })
}

/// What the lengths of the rows of `W + scale·B·A` follow from; all in f32.
#[derive(Debug, Clone, Copy)]
pub struct MagnitudeGains {
    /// Receives `m / n` for each row.
    pub gains: Address,
    /// Receives `n`.
    pub norms: Address,
    /// `m`
    pub magnitudes: Address,
    /// `‖W_j‖²`
    pub squares: Address,
    /// `B [rows, rank]`
    pub b: Address,
    /// `W·Aᵀ [rows, rank]`
    pub projected: Address,
    /// `A·Aᵀ [rank, rank]`
    pub inner: Address,
    /// Values from one row of `projected`, and of `inner`, to the next.
    pub stride: usize,
    /// Width of the update.
    pub rank: usize,
    /// alpha / rank, without unit.
    pub scale: f32,
}

impl MagnitudeGains {
    /// Computes them for `rows` outputs.
    ///
    /// # Errors
    /// [`DeviceError`] of the device.
    pub fn compute(&self, device: &dyn Device, rows: usize) -> Result<(), DeviceError> {
        let Self { gains, norms, magnitudes, squares, b, projected, inner, stride, rank, scale } = *self;
        device.launch(Launch {
            kernel: "magnitude_gains",
            grid: [blocks(rows, WARPS).min(4096), 1, 1],
            threads: THREADS,
            shared_bytes: 0,
            arguments: arguments![
                gains, norms, magnitudes, squares, b, projected, inner, stride, rows, rank, scale
            ],
        })
    }
}

#[cfg(test)]
mod tests;
