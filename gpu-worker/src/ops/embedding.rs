//! Looks up the embedding rows of tokens.

pub mod cuda;

use super::OpError;

const OPERATION: &str = "embedding";

/// Copies row `tokens[i]` of `table [vocab, width]` to row `i` of `out [tokens, width]`.
///
/// # Errors
/// [`OpError::Length`] when `out` does not hold one row per token, [`OpError::Index`] for a token outside the table.
pub fn embed(table: &[f32], width: usize, tokens: &[u32], out: &mut [f32]) -> Result<(), OpError> {
    super::check_length(OPERATION, "out", out.len(), tokens.len() * width)?;
    for (token, row) in tokens.iter().zip(out.chunks_exact_mut(width)) {
        let start = *token as usize * width;
        let Some(source) = table.get(start..start + width) else {
            let (got, limit) = (*token as usize, table.len() / width);
            return Err(OpError::Index { operation: OPERATION, operand: "token", got, limit });
        };
        row.copy_from_slice(source);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
