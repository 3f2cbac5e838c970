//! Samples that belong together by the statute they cite, but stand alone.

use std::collections::BTreeMap;

use super::super::GoldenSample;
use crate::citation::{Citation, Cited};

/// A statute that more than one sample in so many cites is too wide for one cluster; its provisions are taken then.
const WIDEST_SHARE: usize = 3;

/// Samples without a cluster that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Together {
    /// The statute or provision that all of them cite most.
    pub(super) name: String,
    /// The samples.
    pub(super) sample_ids: Vec<String>,
    /// Clusters that other samples about it have already.
    pub(super) clusters: Vec<String>,
}

/// Groups of two or more samples about one statute, or one provision, of which some have no cluster.
pub(super) fn without_cluster(samples: &[GoldenSample]) -> Vec<Together> {
    let topics: Vec<Option<Topic>> = samples.iter().map(Topic::of).collect();
    let mut statutes: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in topics.iter().flatten() {
        *statutes.entry(&topic.statute).or_default() += 1;
    }
    let mut groups: BTreeMap<String, Vec<&GoldenSample>> = BTreeMap::new();
    for (sample, topic) in samples.iter().zip(&topics) {
        let Some(topic) = topic else { continue };
        let citing = statutes.get(topic.statute.as_str()).copied().unwrap_or_default();
        let is_wide = citing * WIDEST_SHARE > samples.len();
        let name = if is_wide { &topic.provision } else { &topic.statute };
        groups.entry(name.clone()).or_default().push(sample);
    }
    groups.into_iter().filter_map(|(name, group)| together(name, &group)).collect()
}

fn together(name: String, group: &[&GoldenSample]) -> Option<Together> {
    let alone: Vec<_> = group.iter().filter(|sample| sample.cluster.is_none()).collect();
    if group.len() < 2 || alone.is_empty() {
        return None;
    }
    let mut clusters: Vec<String> = group.iter().filter_map(|sample| sample.cluster.clone()).collect();
    clusters.sort();
    clusters.dedup();
    let sample_ids = alone.iter().map(|sample| sample.sample_id.clone()).collect();
    Some(Together { name, sample_ids, clusters })
}

/// What a sample is about: the provision that it cites most often, the first of them on a draw.
struct Topic {
    statute: String,
    provision: String,
}

impl Topic {
    fn of(sample: &GoldenSample) -> Option<Self> {
        let texts = [sample.prompt.as_str(), sample.expected_output.as_str()];
        let texts = texts.into_iter().chain(sample.checks.must_cite.iter().map(String::as_str));
        let citations: Vec<Citation> = texts.flat_map(|text| Cited::of(text).citations().to_vec()).collect();
        let named: Vec<&Citation> = citations.iter().filter(|citation| citation.statute.is_some()).collect();
        let statute = most_frequent(named.iter().filter_map(|citation| citation.statute.clone()))?;
        let of_statute = named.iter().filter(|citation| citation.statute.as_deref() == Some(&statute));
        let provision = most_frequent(of_statute.map(|citation| citation.provision()))?;
        Some(Self { statute, provision })
    }
}

fn most_frequent(names: impl Iterator<Item = String>) -> Option<String> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for name in names {
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name)
}
