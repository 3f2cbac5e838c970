//! Numeric operations of a Llama decoder on the CPU, forward and backward, each over plain f32 slices.
//!
//! Activations are row-major `[rows, features]` throughout; heads lie side by side in a row, so nothing is ever transposed.
//! Work is cut into pieces whose number depends on shapes alone, and no piece reads what another writes: results are the
//! same bytes on any number of threads.

pub mod attention;
pub mod embedding;
pub mod gated;
pub mod ggml;
pub mod head_loss;
pub mod lora_linear;
pub mod low_rank;
pub mod matmul;
pub mod rms_norm;
pub mod rope;
pub mod rows;
mod simd;

/// Rows that one task of an element-wise operation handles.
const ROWS_PER_TASK: usize = 16;

/// An operation was given operands that do not fit together. Nothing was written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// A slice is too short or too long for its shape.
    #[error("{operation}: {operand} holds {got} values, expected {expected}")]
    Length {
        /// The operation.
        operation: &'static str,
        /// Which operand.
        operand: &'static str,
        /// Values it holds.
        got: usize,
        /// Values that its shape asks for.
        expected: usize,
    },
    /// A matrix has the wrong shape.
    #[error("{operation}: {operand} has shape {got:?}, expected {expected:?}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// Which operand.
        operand: &'static str,
        /// Its rows and columns.
        got: (usize, usize),
        /// Rows and columns expected.
        expected: (usize, usize),
    },
    /// An index lies outside its table.
    #[error("{operation}: {operand} is {got}, expected less than {limit}")]
    Index {
        /// The operation.
        operation: &'static str,
        /// Which operand.
        operand: &'static str,
        /// The index.
        got: usize,
        /// First index that is too large.
        limit: usize,
    },
}

/// Checks that `operand` holds exactly `expected` values.
fn check_length(
    operation: &'static str,
    operand: &'static str,
    got: usize,
    expected: usize,
) -> Result<(), OpError> {
    if got == expected { Ok(()) } else { Err(OpError::Length { operation, operand, got, expected }) }
}

#[cfg(test)]
pub(crate) mod testing;
