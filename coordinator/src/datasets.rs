//! Training datasets that jobs made: listed and named, and which of them an ingest may take or has to know.

mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use clara_lifecycle::{
    adapter::{AdapterStatus, AdapterVersion, Family},
    artifact::ArtifactRef,
    dataset::DatasetManifest,
    digest::Digest,
    id::{Domain, JobId},
    job::Job,
    results::{DatasetResult, EarlierDatasets, StageResult, StoredDataset},
    stage::Stage,
};
use clara_runtime::{
    artifacts::ArtifactStore,
    state::{Order, Page},
};

use crate::{
    driver::{Driver, DriverError},
    indexes,
};

pub(crate) use view::DatasetView;

/// Datasets of a list when nothing else is asked for, and the most of one.
const DEFAULT_LIMIT: usize = 100;
const LONGEST_LIST: usize = 1000;
/// So many jobs that asked for the same are looked at for a dataset that can be taken.
const SAME_OPTIONS: usize = 20;
/// So many datasets of a family are handed to an ingest that asks for what is new to them.
const OF_FAMILY: usize = 100;
/// Fewest characters of a digest that name a dataset.
const SHORTEST_NAME: usize = 6;
/// Jobs read at a time.
const PAGE: usize = 500;

impl Driver {
    /// Datasets, newest first; 0 asks for as many as usual.
    pub(crate) async fn datasets(
        &self,
        domain: Option<&Domain>,
        limit: usize,
    ) -> Result<Vec<DatasetView>, DriverError> {
        let limit = match limit {
            0 => DEFAULT_LIMIT,
            limit if limit <= LONGEST_LIST => limit,
            limit => {
                return Err(DriverError::Invalid(format!("limit is {limit}; expected 1 to {LONGEST_LIST}")));
            }
        };
        let mut views =
            self.gather(Some(limit), |found| domain.is_none_or(|domain| *domain == *found)).await?;
        views.truncate(limit);
        Ok(views)
    }

    /// The dataset that a job, an adapter version or the beginning of a digest names.
    pub(crate) async fn dataset(&self, name: &str) -> Result<DatasetView, DriverError> {
        let digest = match self.dataset_copy(name).await? {
            Some(copy) => copy.digest().to_string(),
            None => name.to_owned(),
        };
        if digest.len() < SHORTEST_NAME || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(DriverError::UnknownDataset { name: name.to_owned() });
        }
        let digest = digest.to_lowercase();
        let views = self.gather(None, |_| true).await?;
        let mut named = views.into_iter().filter(|view| view.digest.as_str().starts_with(&digest));
        let found = named.next().ok_or_else(|| DriverError::UnknownDataset { name: name.to_owned() })?;
        match named.next() {
            None => Ok(found),
            Some(other) => Err(DriverError::Invalid(format!(
                "{name} names several datasets, {} and {}; give more of the digest",
                found.digest.short(),
                other.digest.short()
            ))),
        }
    }

    /// The copy of a dataset that a job made or a version was trained on; `None` for a name that is neither.
    pub(crate) async fn dataset_copy(&self, name: &str) -> Result<Option<ArtifactRef>, DriverError> {
        if name.starts_with("job-") {
            let unknown = |_| DriverError::UnknownJob { job: name.to_owned() };
            let job = self.records.job(&name.parse::<JobId>().map_err(unknown)?).await?.value;
            let made = made_by(&job).ok_or_else(|| {
                DriverError::Invalid(format!(
                    "job {name} has no dataset yet; `clara job show {name}` tells where it stands"
                ))
            })?;
            return Ok(Some(made.dataset.clone()));
        }
        match self.adapter(name).await {
            Ok(found) => {
                let lineage = found.version.lineage.ok_or_else(|| {
                    DriverError::Invalid(format!(
                        "{name} was imported from another registry; its dataset is not here: ask the coordinator \
                         that trained it"
                    ))
                })?;
                Ok(Some(lineage.dataset))
            }
            Err(DriverError::UnknownAdapter { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All datasets of the domains that are wanted, newest first. With `enough`, older jobs are not looked at once there are so many.
    async fn gather(
        &self,
        enough: Option<usize>,
        wants: impl Fn(&Domain) -> bool,
    ) -> Result<Vec<DatasetView>, DriverError> {
        let mut views: BTreeMap<Digest, DatasetView> = BTreeMap::new();
        let mut page = Page { after: None, limit: PAGE, order: Order::Descending };
        loop {
            let ids = self.records.state.members(indexes::JOBS, &page).await?;
            for job in self.records.jobs(&ids).await? {
                let job = job?.value;
                if let Some(made) = made_by(&job).filter(|_| wants(&job.spec.domain)) {
                    let digest = made.dataset.digest();
                    let view =
                        views.entry(digest).or_insert_with_key(|digest| DatasetView::of(digest, &job, made));
                    view.made_by(&job, made);
                }
            }
            let is_last = ids.len() < page.limit;
            page.after = ids.into_iter().next_back();
            if is_last || enough.is_some_and(|enough| views.len() >= enough) {
                break;
            }
        }
        let families: Vec<Family> = self.records.families().await?;
        for version in families.iter().flat_map(|family| &family.versions) {
            let Some(lineage) = version.lineage.as_ref().filter(|_| wants(&version.domain)) else { continue };
            let digest = lineage.dataset.digest();
            // The record of its job may be gone.
            let view =
                views.entry(digest).or_insert_with_key(|digest| DatasetView::of_version(digest, version));
            view.trained(version);
        }
        let mut views: Vec<_> = views.into_values().collect();
        views.sort_by(|a, b| b.made_at.cmp(&a.made_at).then_with(|| a.digest.cmp(&b.digest)));
        Ok(views)
    }

    /// What was made before, for an ingest of `job`.
    pub(crate) async fn earlier_datasets(&self, job: &Job) -> Result<EarlierDatasets, DriverError> {
        let options = &job.spec.ingest;
        let needs_family = options.since_last || options.clean.skip_known;
        // What is new to a family changes with each of its datasets.
        let same_options =
            if options.fresh || needs_family { Vec::new() } else { self.same_options(job).await? };
        let family = if needs_family { self.of_family(job).await? } else { Vec::new() };
        Ok(EarlierDatasets { same_options, family })
    }

    async fn same_options(&self, job: &Job) -> Result<Vec<StoredDataset>, DriverError> {
        let Some(index) = indexes::same_ingest(job) else { return Ok(Vec::new()) };
        let page = Page { after: None, limit: SAME_OPTIONS, order: Order::Descending };
        let mut ids = self.records.state.members(&index, &page).await?;
        ids.retain(|id| id != job.id.as_str());
        let (mut stored, mut keys) = (Vec::new(), BTreeSet::new());
        for other in self.records.jobs(&ids).await? {
            let other = other?.value;
            let Some(made) = made_by(&other) else { continue };
            if made.key.as_ref().is_some_and(|key| keys.insert(key.clone())) {
                stored.push(StoredDataset { job: other.id.clone(), result: made.clone() });
            }
        }
        Ok(stored)
    }

    /// The datasets of the family's versions, newest first. What a rejected version was trained on is not known to those in use.
    async fn of_family(&self, job: &Job) -> Result<Vec<ArtifactRef>, DriverError> {
        let Some(family) = self.records.family(&job.spec.family()).await? else { return Ok(Vec::new()) };
        let mut versions: Vec<&AdapterVersion> = family.value.versions.iter().collect();
        versions.sort_by(|a, b| b.created_at.cmp(&a.created_at));
        let usable = |version: &&&AdapterVersion| match version.status {
            AdapterStatus::PendingReview
            | AdapterStatus::InReview
            | AdapterStatus::Approved
            | AdapterStatus::Deprecated => version.files_removed_at.is_none(),
            AdapterStatus::Rejected => false,
        };
        let mut seen = BTreeSet::new();
        let lineages = versions.iter().filter(usable).filter_map(|version| version.lineage.as_ref());
        let others =
            lineages.filter(|lineage| lineage.job != job.id && seen.insert(lineage.dataset.digest()));
        Ok(others.take(OF_FAMILY).map(|lineage| lineage.dataset.clone()).collect())
    }
}

impl DatasetView {
    /// Its manifest, and where its files lie: the first of its copies that is there.
    pub(crate) async fn manifest(
        &self,
        artifacts: &ArtifactStore,
    ) -> Result<(ArtifactRef, DatasetManifest), DriverError> {
        let mut missing = None;
        for artifact in &self.artifacts {
            match artifacts.read(artifact, "manifest.json").await {
                Ok(bytes) => {
                    let manifest = serde_json::from_slice(&bytes).map_err(|error| DriverError::Record {
                        key: format!("{}/manifest.json", artifact.prefix),
                        reason: error.to_string(),
                    })?;
                    return Ok((artifact.clone(), manifest));
                }
                Err(error) if error.is_retryable() => return Err(error.into()),
                Err(error) => missing = Some(error),
            }
        }
        let reason = missing.map(|error| error.to_string()).unwrap_or_default();
        Err(DriverError::Invalid(format!(
            "the files of dataset {} are not in the artifact store any more ({reason}); `clara registry gc` may have \
             removed them: run its job again",
            self.digest.short()
        )))
    }
}

/// What a job's ingest committed.
fn made_by(job: &Job) -> Option<&DatasetResult> {
    match job.result(Stage::Ingest) {
        Some(StageResult::Ingest(made)) => Some(made),
        Some(
            StageResult::Train(_)
            | StageResult::Generate(_)
            | StageResult::Judge(_)
            | StageResult::Gate(_)
            | StageResult::Rollout(_),
        )
        | None => None,
    }
}
