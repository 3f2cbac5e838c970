//! Chooses the documents that are held out for validation.

#[cfg(test)]
mod tests;

use sha2::{Digest as _, Sha256};

use crate::share::count_of;

/// From this many documents on, a share above 0 holds out at least one.
const ALWAYS_SPLIT_FROM: usize = 10;

/// A document's place in the seeded order; the first ones in it are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SplitKey([u8; 16]);

impl SplitKey {
    /// Depends on seed and id alone: other documents and their order do not matter.
    pub(crate) fn new(seed: u64, document_id: &str) -> Self {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(seed.to_le_bytes())
            .chain_update(document_id.as_bytes())
            .finalize()
            .into();
        let mut key = [0; 16];
        key.copy_from_slice(hash.split_at(16).0);
        Self(key)
    }
}

/// For each document, whether it is held out: the rounded share (0–1), and never all of them.
pub(crate) fn held_out(keys: &[SplitKey], share: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_unstable_by_key(|&index| (keys.get(index), index));
    let mut held_out = vec![false; keys.len()];
    for index in order.into_iter().take(held_out_count(keys.len(), share)) {
        if let Some(flag) = held_out.get_mut(index) {
            *flag = true;
        }
    }
    held_out
}

fn held_out_count(documents: usize, share: f64) -> usize {
    let least = usize::from(share > 0.0 && documents >= ALWAYS_SPLIT_FROM);
    count_of(share, documents).max(least).min(documents.saturating_sub(1))
}
