//! Chooses the documents that are held out for validation, one by one or by whole clusters.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::share::count_of;

/// From this many documents on, a share above 0 holds out at least one.
const ALWAYS_SPLIT_FROM: usize = 10;

/// A document's or cluster's place in the seeded order; the first ones in it are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SplitKey([u8; 16]);

/// All documents belong to one cluster, so that none can be held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OneCluster;

impl SplitKey {
    /// Depends on seed and name alone: other documents and their order do not matter.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let hash: [u8; 32] =
            Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name.as_bytes()).finalize().into();
        let mut key = [0; 16];
        key.copy_from_slice(hash.split_at(16).0);
        Self(key)
    }
}

/// For each document, whether it is held out: the rounded share (0–1), and never all of them.
pub(crate) fn held_out(keys: &[SplitKey], share: f64) -> Vec<bool> {
    first_in_order(keys, held_out_count(keys.len(), share))
}

/// For each document, whether it is among the first `count` in the seeded order.
pub(crate) fn first_in_order(keys: &[SplitKey], count: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_unstable_by_key(|&index| (keys.get(index), index));
    let mut chosen = vec![false; keys.len()];
    for index in order.into_iter().take(count) {
        if let Some(flag) = chosen.get_mut(index) {
            *flag = true;
        }
    }
    chosen
}

/// For each document, whether its cluster is held out; `clusters` names the cluster of each document.
///
/// Clusters are taken in the seeded order as long as they fit into the share, and at last the one that brings the count
/// nearer to it. At least one is held out and at least one stays, unless the share is 0.
pub(crate) fn held_out_clusters(clusters: &[SplitKey], share: f64) -> Result<Vec<bool>, OneCluster> {
    let mut sizes: BTreeMap<SplitKey, usize> = BTreeMap::new();
    for cluster in clusters {
        *sizes.entry(*cluster).or_default() += 1;
    }
    let wanted = held_out_count(clusters.len(), share);
    if wanted == 0 {
        return Ok(vec![false; clusters.len()]);
    }
    if sizes.len() < 2 {
        return Err(OneCluster);
    }
    // The smaller side is chosen, so that one large cluster cannot overfill it.
    let others = clusters.len() - wanted;
    let smaller = choose(&sizes, wanted.min(others));
    Ok(clusters.iter().map(|cluster| smaller.contains(cluster) == (wanted <= others)).collect())
}

/// Clusters with about `wanted` documents: at least one, and never all.
fn choose(sizes: &BTreeMap<SplitKey, usize>, wanted: usize) -> BTreeSet<SplitKey> {
    let most = sizes.len() - 1;
    let mut chosen = BTreeSet::new();
    let mut held = 0;
    for (cluster, size) in sizes {
        if held + size <= wanted && chosen.len() < most {
            chosen.insert(*cluster);
            held += size;
        }
    }
    let distance = |size: usize| (held + size).abs_diff(wanted);
    let left = sizes.iter().filter(|(cluster, _)| !chosen.contains(*cluster));
    let nearest = left.min_by_key(|(cluster, size)| (distance(**size), **cluster));
    if let Some((cluster, size)) = nearest
        && (chosen.is_empty() || (chosen.len() < most && distance(*size) < distance(0)))
    {
        chosen.insert(*cluster);
    }
    chosen
}

fn held_out_count(documents: usize, share: f64) -> usize {
    let least = usize::from(share > 0.0 && documents >= ALWAYS_SPLIT_FROM);
    count_of(share, documents).max(least).min(documents.saturating_sub(1))
}
