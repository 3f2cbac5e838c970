//! Mixes sources by weights: takes fewer documents of those that have too many, and never one twice.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clara_lifecycle::{
    dataset::MixtureShare,
    shown::{shown, shown_list},
};

use crate::{
    error::IngestError,
    share::share,
    split::{SplitKey, first_in_order},
};

/// Refuses weights that cannot be met, whatever the sources hold.
pub(crate) fn check(weights: &BTreeMap<String, f64>, sources: &[String]) -> Result<(), IngestError> {
    let refuse = |problem: String| Err(IngestError::Options { problem });
    if let Some(unknown) = weights.keys().find(|name| !sources.contains(name)) {
        return refuse(format!(
            "ingest.shape.weights gives a weight to `{}`, which is not among the sources {}; write the source as \
             ingest.sources does",
            shown(unknown),
            shown_list(sources)
        ));
    }
    if let Some((source, weight)) = weights.iter().find(|(_, weight)| !(weight.is_finite() && **weight > 0.0))
    {
        return refuse(format!(
            "ingest.shape.weights gives `{}` {weight}; expected more than 0, or leave the source out of ingest.sources",
            shown(source)
        ));
    }
    let total: f64 = weights.values().sum();
    if let Some(whole) = sources.iter().find(|source| !weights.contains_key(*source))
        && total >= 1.0
    {
        return refuse(format!(
            "ingest.shape.weights add up to {total}, which leaves nothing for `{}`; give it a weight, or let the others \
             add up to less than 1",
            shown(whole)
        ));
    }
    Ok(())
}

/// A mixture that was made.
#[derive(Debug, PartialEq)]
pub(crate) struct Mixture {
    /// For each document, whether it is kept.
    pub(crate) kept: Vec<bool>,
    /// What became of each source, in the order given.
    pub(crate) shares: Vec<MixtureShare>,
}

/// Mixes documents, of which `keys` tells the seeded order and `of` the source, by its place in `sources`.
pub(crate) fn mix(
    keys: &[SplitKey],
    of: &[u16],
    sources: &[String],
    weights: &BTreeMap<String, f64>,
) -> Mixture {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); sources.len()];
    for (document, source) in of.iter().enumerate() {
        if let Some(members) = members.get_mut(usize::from(*source)) {
            members.push(document);
        }
    }
    let available: Vec<usize> = members.iter().map(Vec::len).collect();
    let wanted = wanted(&available, sources, weights);
    let mut kept = vec![false; of.len()];
    let mut shares = Vec::with_capacity(sources.len());
    let total: usize = wanted.iter().sum();
    for ((source, members), count) in sources.iter().zip(&members).zip(wanted) {
        let own_keys: Vec<SplitKey> =
            members.iter().filter_map(|document| keys.get(*document).copied()).collect();
        for (document, is_chosen) in members.iter().zip(first_in_order(&own_keys, count)) {
            if let Some(flag) = kept.get_mut(*document) {
                *flag = is_chosen;
            }
        }
        shares.push(MixtureShare {
            source: shown(source).into_owned(),
            weight: weights.get(source).copied(),
            available: members.len() as u64,
            kept: count as u64,
            share: share(count as u64, total as u64),
        });
    }
    Mixture { kept, shares }
}

/// How many documents of each source are kept: as many in all as the weights allow.
#[expect(clippy::cast_precision_loss, reason = "counts of documents stay far below 2^53")]
fn wanted(available: &[usize], sources: &[String], weights: &BTreeMap<String, f64>) -> Vec<usize> {
    let weight = |source: &String| weights.get(source).copied();
    let whole: usize =
        available.iter().zip(sources).filter(|(_, source)| weight(source).is_none()).map(|(n, _)| n).sum();
    // A source without a document has no share that others could keep to.
    let weighted = || {
        let pairs = available.iter().zip(sources).filter(|(count, _)| **count > 0);
        pairs.filter_map(|(count, source)| Some((*count, weight(source)?)))
    };
    let weights_total: f64 = weighted().map(|(_, weight)| weight).sum();
    let total = if whole > 0 {
        whole as f64 / (1.0 - weights_total)
    } else {
        let most = weighted().map(|(count, weight)| count as f64 * weights_total / weight);
        most.fold(f64::INFINITY, f64::min)
    };
    let scale = if whole > 0 { total } else { total / weights_total };
    let counts = available.iter().zip(sources).map(|(count, source)| match weight(source) {
        None => *count,
        Some(weight) => rounded(weight * scale).clamp(1, (*count).max(1)).min(*count),
    });
    counts.collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of documents, never negative and far below 2^53; an infinite one is clamped afterwards"
)]
fn rounded(count: f64) -> usize {
    count.round() as usize
}
