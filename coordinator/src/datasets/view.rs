//! A dataset as users see it: what it is, who made it, what was made of it.

use std::collections::BTreeMap;

use clara_lifecycle::{
    adapter::AdapterVersion,
    artifact::{ArtifactFile, ArtifactRef},
    dataset::DropReason,
    digest::Digest,
    id::JobId,
    job::{Job, StageState},
    results::DatasetResult,
    stage::Stage,
    time::Timestamp,
};
use serde::Serialize;

/// A dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DatasetView {
    /// Over all of its files; names it.
    pub(crate) digest: Digest,
    pub(crate) domain: String,
    pub(crate) query: Option<String>,
    pub(crate) sources: Vec<String>,
    /// When it was made first, as far as records go back.
    pub(crate) made_at: Option<Timestamp>,
    /// Jobs that made or took it, newest first.
    pub(crate) jobs: Vec<JobId>,
    /// Versions that were trained on it.
    pub(crate) adapters: Vec<String>,
    pub(crate) documents_read: Option<u64>,
    pub(crate) documents_kept: Option<u64>,
    pub(crate) dropped: BTreeMap<DropReason, u64>,
    pub(crate) train_records: Option<u64>,
    pub(crate) validation_records: Option<u64>,
    /// A job with the same key takes it instead of reading its sources.
    pub(crate) key: Option<Digest>,
    pub(crate) size_bytes: u64,
    pub(crate) files: Vec<ArtifactFile>,
    /// Its copies; each attempt has its own.
    #[serde(skip)]
    pub(super) artifacts: Vec<ArtifactRef>,
}

impl DatasetView {
    /// As a job made it.
    pub(super) fn of(digest: &Digest, job: &Job, made: &DatasetResult) -> Self {
        let ingest = &job.spec.ingest;
        Self {
            digest: digest.clone(),
            domain: job.spec.domain.to_string(),
            query: ingest.query.clone(),
            sources: ingest.shown().sources,
            made_at: None,
            jobs: Vec::new(),
            adapters: Vec::new(),
            documents_read: Some(made.documents_read),
            documents_kept: Some(made.documents_kept),
            dropped: made.dropped.clone(),
            train_records: Some(made.train_records),
            validation_records: Some(made.validation_records),
            key: made.key.clone(),
            size_bytes: made.dataset.size_bytes(),
            files: made.dataset.files.clone(),
            artifacts: Vec::new(),
        }
    }

    /// As a version remembers it.
    pub(super) fn of_version(digest: &Digest, version: &AdapterVersion) -> Self {
        let lineage = version.lineage.as_ref();
        let dataset = lineage.map(|lineage| &lineage.dataset);
        let made_at = version.created_at.parse::<jiff::Timestamp>().ok();
        Self {
            digest: digest.clone(),
            domain: version.domain.to_string(),
            query: lineage.and_then(|lineage| lineage.query.clone()),
            sources: lineage.map(|lineage| lineage.sources.clone()).unwrap_or_default(),
            made_at: made_at.map(|at| Timestamp(at.as_millisecond())),
            jobs: lineage.map(|lineage| lineage.job.clone()).into_iter().collect(),
            adapters: Vec::new(),
            documents_read: None,
            documents_kept: None,
            dropped: BTreeMap::new(),
            train_records: lineage.and_then(|lineage| lineage.train_records),
            validation_records: None,
            key: lineage.and_then(|lineage| lineage.dataset_key.clone()),
            size_bytes: dataset.map(ArtifactRef::size_bytes).unwrap_or_default(),
            files: dataset.map(|dataset| dataset.files.clone()).unwrap_or_default(),
            artifacts: dataset.cloned().into_iter().collect(),
        }
    }

    /// Adds a job that made or took it; jobs come newest first.
    pub(super) fn made_by(&mut self, job: &Job, made: &DatasetResult) {
        self.jobs.push(job.id.clone());
        self.artifacts.push(made.dataset.clone());
        if let StageState::Succeeded { at, .. } = job.stages.get(Stage::Ingest).state {
            self.made_at = Some(self.made_at.map_or(at, |first| first.min(at)));
        }
    }

    /// Adds a version that was trained on it.
    pub(super) fn trained(&mut self, version: &AdapterVersion) {
        self.adapters.push(version.adapter_id.clone());
    }
}
