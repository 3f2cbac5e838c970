//! Decides what becomes of each kept document: training, validation, or too much of its source.

use std::collections::BTreeMap;

use clara_lifecycle::{
    dataset::{ClusterReport, ShapeReport},
    spec::IngestOptions,
};

use crate::{
    error::IngestError,
    mixture::mix,
    split::{SplitKey, held_out, held_out_clusters},
};

/// A kept document, as far as its fate depends on it.
#[derive(Debug, Clone)]
pub(crate) struct Kept<'a> {
    /// Its id.
    pub(crate) id: &'a str,
    /// Where it was read.
    pub(crate) origin: String,
    /// Its source, as given.
    pub(crate) source: &'a str,
    /// The value of the field that makes clusters, if it has one.
    pub(crate) cluster: Option<&'a str>,
}

/// What becomes of a kept document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Train,
    Validation,
    BeyondShare,
}

/// A few numbers per document, until all are known.
#[derive(Debug, Default)]
pub(super) struct Plan {
    seed: u64,
    validation_share: f64,
    sources: Vec<String>,
    weights: BTreeMap<String, f64>,
    cluster_field: Option<String>,
    keys: Vec<SplitKey>,
    /// Place of each document's source; empty unless weights are given.
    of_source: Vec<u16>,
    /// Cluster of each document; empty unless clusters are asked for.
    clusters: Vec<SplitKey>,
    without_cluster: u64,
}

/// The fates of all documents, and what the manifest says about them.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) fates: Vec<Fate>,
    pub(super) report: ShapeReport,
}

impl Plan {
    pub(super) fn new(options: &IngestOptions) -> Self {
        Self {
            seed: options.seed,
            validation_share: options.validation_share,
            sources: options.sources.clone(),
            weights: options.shape.weights.clone(),
            cluster_field: options.shape.cluster.clone(),
            ..Self::default()
        }
    }

    /// Whether documents may be dropped for the sake of the mixture.
    pub(super) fn mixes(&self) -> bool {
        !self.weights.is_empty()
    }

    /// Documents so far.
    pub(super) fn documents(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn add(&mut self, document: &Kept<'_>) {
        let key = SplitKey::new(self.seed, document.id);
        self.keys.push(key);
        if self.mixes() {
            let place = self.sources.iter().position(|source| source == document.source);
            self.of_source.push(place.and_then(|place| u16::try_from(place).ok()).unwrap_or(u16::MAX));
        }
        if self.cluster_field.is_some() {
            let named =
                document.cluster.map(|cluster| SplitKey::new(self.seed, &format!("cluster {cluster}")));
            self.without_cluster += u64::from(named.is_none());
            self.clusters.push(named.unwrap_or(key));
        }
    }

    /// First the mixture, then the split of what it keeps.
    pub(super) fn decide(self) -> Result<Decided, IngestError> {
        let mut report = ShapeReport::default();
        let mut fates = vec![Fate::Train; self.keys.len()];
        if self.mixes() {
            let mixture = mix(&self.keys, &self.of_source, &self.sources, &self.weights);
            for (fate, is_kept) in fates.iter_mut().zip(&mixture.kept) {
                if !is_kept {
                    *fate = Fate::BeyondShare;
                }
            }
            report.mixture = mixture.shares;
        }
        let held = match &self.cluster_field {
            None => held_out(&kept(&fates, &self.keys), self.validation_share),
            Some(field) => {
                let clusters = kept(&fates, &self.clusters);
                let held = self.split_clusters(field, &clusters)?;
                report.clusters = Some(self.cluster_report(field, &clusters, &held));
                held
            }
        };
        let kept_fates = fates.iter_mut().filter(|fate| **fate == Fate::Train);
        for (fate, is_held) in kept_fates.zip(held) {
            if is_held {
                *fate = Fate::Validation;
            }
        }
        Ok(Decided { fates, report })
    }

    fn split_clusters(&self, field: &str, clusters: &[SplitKey]) -> Result<Vec<bool>, IngestError> {
        let refuse = |problem| Err(IngestError::Options { problem });
        if self.without_cluster == self.keys.len() as u64 {
            return refuse(format!(
                "ingest.shape.cluster names the field `{field}`, which no kept document has; name another field, or leave it \
                 out"
            ));
        }
        match held_out_clusters(clusters, self.validation_share) {
            Ok(held) => Ok(held),
            Err(_) => refuse(format!(
                "all {} kept documents have the same `{field}`, so that none can be held out for validation without its cluster \
                 standing on both sides; set ingest.validation_share to 0, name another field in ingest.shape.cluster, or leave \
                 it out",
                clusters.len()
            )),
        }
    }

    fn cluster_report(&self, field: &str, clusters: &[SplitKey], held: &[bool]) -> ClusterReport {
        let mut sides: BTreeMap<SplitKey, bool> = BTreeMap::new();
        sides.extend(clusters.iter().copied().zip(held.iter().copied()));
        ClusterReport {
            field: field.to_owned(),
            clusters: sides.len() as u64,
            validation_clusters: sides.values().filter(|is_held| **is_held).count() as u64,
            documents_without: self.without_cluster,
        }
    }
}

/// The keys of the documents that the mixture keeps.
fn kept(fates: &[Fate], keys: &[SplitKey]) -> Vec<SplitKey> {
    let pairs = fates.iter().zip(keys).filter(|(fate, _)| **fate == Fate::Train);
    pairs.map(|(_, key)| *key).collect()
}
