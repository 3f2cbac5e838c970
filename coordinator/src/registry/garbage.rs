//! Garbage collection: removes what nothing refers to any more, and says what keeps the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use clara_lifecycle::{
    adapter::{AdapterStatus, AdapterVersion, Family},
    id::JobId,
    job::{Job, JobState},
    time::Timestamp,
};
use clara_runtime::{
    artifacts::{ArtifactStore, StoredObject},
    state::{Order, Page},
};
use serde::Serialize;

use crate::{
    change::Change,
    driver::{Driver, DriverError, audit},
    evidence,
    golden::FrozenGolden,
    indexes,
    records::{GOLDEN, is_conflict},
};

/// What may be removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GarbageOptions {
    /// Only tells what would be removed.
    pub(crate) dry_run: bool,
    /// What is younger stays.
    pub(crate) grace: Duration,
    /// Records of jobs that were over for so long are removed too, unless they made a version that has its files.
    pub(crate) jobs_older_than: Option<Duration>,
}

impl GarbageOptions {
    /// Whether a job has been over for long enough that its record may go. The grace time of its files counts too, since
    /// files of a job without a record would stay for ever.
    fn is_old(&self, job: &Job, now: Timestamp) -> bool {
        is_over(job)
            && self.jobs_older_than.is_some_and(|age| now.since(job.changed_at) > age.max(self.grace))
    }
}

/// What a collection removed, or would remove, and what keeps the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct GarbageReport {
    pub(crate) dry_run: bool,
    /// Stored files that were looked at.
    pub(crate) files: usize,
    /// Files that are removed.
    pub(crate) removed_files: usize,
    /// Their size in bytes.
    pub(crate) removed_bytes: u64,
    /// Removed files and bytes by the attempt or dataset they belonged to.
    pub(crate) removed: BTreeMap<String, Amount>,
    /// Kept files and bytes by what keeps them.
    pub(crate) kept: BTreeMap<String, Amount>,
    /// Versions whose adapter and dataset are removed.
    pub(crate) versions: Vec<String>,
    /// Jobs whose records are removed.
    pub(crate) jobs: Vec<String>,
}

/// How much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Amount {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

impl Amount {
    fn add(&mut self, object: &StoredObject) {
        self.files += 1;
        self.bytes += object.size_bytes;
    }
}

/// What the records refer to.
#[derive(Debug, Default)]
struct References {
    /// What keeps everything below a prefix.
    keepers: BTreeMap<String, String>,
    /// Jobs that have a record, or made a version.
    known_jobs: BTreeSet<String>,
}

impl References {
    /// What keeps a path; the first keeper of the longest prefix.
    fn keeper(&self, path: &str) -> Option<&str> {
        let ends = path.rmatch_indices('/').map(|(end, _)| end);
        ends.filter_map(|end| path.get(..end)).find_map(|prefix| self.keepers.get(prefix)).map(String::as_str)
    }

    fn keep(&mut self, prefix: &str, keeper: &str) {
        self.keepers.entry(prefix.to_owned()).or_insert_with(|| keeper.to_owned());
    }
}

impl Driver {
    /// Removes stored files that nothing refers to: those of versions that were rejected or deprecated and have no alias,
    /// and of attempts that led to no version. What belongs to unfinished jobs, to golden datasets, to evaluations and to
    /// jobs that the store does not know stays, and so does what a judge replied, while its job has a record.
    pub(crate) async fn collect_garbage(
        &self,
        options: GarbageOptions,
        artifacts: &ArtifactStore,
    ) -> Result<GarbageReport, DriverError> {
        // The files come first: what is written later is not in the list, and what the records refer to is read after.
        let mut objects = artifacts.objects("jobs").await?;
        objects.extend(artifacts.objects("golden").await?);
        let now = self.records.state.now().await?;
        let jobs = self.all_jobs().await?;
        let families: Vec<Family> = self.records.families().await?;
        let mut surplus = surplus_versions(&families, now, options.grace);
        self.keep_compared(&families, &mut surplus, artifacts).await?;
        let mut report =
            GarbageReport { dry_run: options.dry_run, files: objects.len(), ..Default::default() };
        if !options.dry_run {
            for adapter_id in surplus.clone() {
                if !self.give_up_files(&adapter_id).await? {
                    surplus.remove(&adapter_id);
                }
            }
        }
        let mut references = self.references(&jobs, &families, &surplus).await?;
        let needed = makers(&families, &surplus);
        let (old, kept): (Vec<&Job>, Vec<&Job>) =
            jobs.iter().partition(|job| options.is_old(job, now) && !needed.contains(&job.id));
        for job in kept {
            let keeper = format!("the judge's ledger of job {}", job.id);
            references.keep(&format!("jobs/{}/judge/replies", job.id), &keeper);
        }
        let mut looked_up = BTreeMap::new();
        for object in objects {
            if let Some(keeper) = keeper_of(&object, &references, now, options.grace) {
                report.kept.entry(keeper).or_default().add(&object);
                continue;
            }
            if !options.dry_run && self.goes_on(&object.path, &mut looked_up).await? {
                report.kept.entry("a job that goes on again".to_owned()).or_default().add(&object);
                continue;
            }
            report.removed_files += 1;
            report.removed_bytes += object.size_bytes;
            report.removed.entry(owner_of(&object.path)).or_default().add(&object);
            if !options.dry_run {
                artifacts.remove(&object.path).await?;
            }
        }
        report.versions = surplus.into_iter().collect();
        report.jobs = self.forget_jobs(&old, options.dry_run).await?;
        Ok(report)
    }

    async fn all_jobs(&self) -> Result<Vec<Job>, DriverError> {
        let mut page = Page { after: None, limit: 500, order: Order::Ascending };
        let mut jobs = Vec::new();
        loop {
            let ids = self.records.state.members(indexes::JOBS, &page).await?;
            for job in self.records.jobs(&ids).await? {
                jobs.push(job?.value);
            }
            match ids.last() {
                Some(last) if ids.len() == page.limit => page.after = Some(last.clone()),
                _ => return Ok(jobs),
            }
        }
    }

    /// A version that the evaluation of a kept one compares with is kept too, so that the comparison can be repeated.
    async fn keep_compared(
        &self,
        families: &[Family],
        surplus: &mut BTreeSet<String>,
        artifacts: &ArtifactStore,
    ) -> Result<(), DriverError> {
        let compares = |version: &&AdapterVersion| {
            version.evaluation.as_ref().is_some_and(|record| record.report.champion_delta.is_some())
        };
        for version in families.iter().flat_map(|family| &family.versions).filter(compares) {
            if surplus.is_empty() || surplus.contains(&version.adapter_id) {
                continue;
            }
            let Some(artifact) = version.evaluation.as_ref().and_then(|record| record.evaluation.as_ref())
            else {
                continue;
            };
            let evaluation = match evidence::evaluation(artifacts, artifact).await {
                Ok(evaluation) => evaluation,
                Err(error) => {
                    // Imported without its files, so the comparison cannot be repeated here.
                    if self.evidence(version).await?.is_elsewhere(&error) {
                        continue;
                    }
                    return Err(error);
                }
            };
            if let Some(champion) = evaluation.champion {
                surplus.remove(&champion.adapter_id);
            }
        }
        Ok(())
    }

    async fn references(
        &self,
        jobs: &[Job],
        families: &[Family],
        surplus: &BTreeSet<String>,
    ) -> Result<References, DriverError> {
        let mut references = References::default();
        let frozen: Vec<FrozenGolden> = self.records.all(GOLDEN).await?;
        for golden in frozen {
            let keeper = format!("golden dataset {}", golden.dataset.reference());
            references.keep(&golden.artifact.prefix, &keeper);
        }
        for job in jobs {
            references.known_jobs.insert(job.id.to_string());
            if !is_over(job) {
                references.keep(&format!("jobs/{}", job.id), &format!("unfinished job {}", job.id));
                references.keep(&job.golden.artifact.prefix, &format!("unfinished job {}", job.id));
            }
        }
        for version in families.iter().flat_map(|family| &family.versions) {
            let adapter_id = &version.adapter_id;
            references.known_jobs.extend(version.lineage.iter().map(|lineage| lineage.job.to_string()));
            for (part, artifact) in version.artifacts() {
                if matches!(part, "answers" | "evaluation") {
                    references.keep(&artifact.prefix, &format!("evaluation of {adapter_id}"));
                } else if !surplus.contains(adapter_id) {
                    references.keep(&artifact.prefix, &format!("version {adapter_id} ({})", version.status));
                }
            }
        }
        Ok(references)
    }

    /// Whether the job that a file belongs to goes on, as its record says now; each job is looked up once.
    async fn goes_on(&self, path: &str, looked_up: &mut BTreeMap<JobId, bool>) -> Result<bool, DriverError> {
        let Some(job) = job_of(path).and_then(|job| job.parse::<JobId>().ok()) else { return Ok(false) };
        if let Some(goes_on) = looked_up.get(&job) {
            return Ok(*goes_on);
        }
        let goes_on = self.job_goes_on(&job).await?;
        looked_up.insert(job, goes_on);
        Ok(goes_on)
    }

    async fn job_goes_on(&self, job: &JobId) -> Result<bool, DriverError> {
        match self.records.job(job).await {
            Ok(stored) => Ok(!is_over(&stored.value)),
            Err(DriverError::UnknownJob { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Records that a version's files are gone, before they are; false when it or its job is in use again.
    async fn give_up_files(&self, adapter_id: &str) -> Result<bool, DriverError> {
        let seen = self.adapter(adapter_id).await?.version;
        if let Some(lineage) = &seen.lineage
            && self.job_goes_on(&lineage.job).await?
        {
            return Ok(false);
        }
        loop {
            let mut change = Change::begin(self).await?;
            let at = change.now_text();
            let family = change.family(&seen.domain, seen.method).await?;
            let Some(version) = family.version(adapter_id) else { return Ok(false) };
            if version.files_removed_at.is_some() {
                return Ok(true);
            }
            if !is_surplus(family, version) {
                return Ok(false);
            }
            let why = format!("{} and without alias", version.status);
            family.note(adapter_id, |version| version.files_removed_at = Some(at))?;
            audit(&mut change, "adapter.files_removed", adapter_id, ("clara registry gc", &why)).await?;
            match change.commit().await {
                Err(error) if is_conflict(&error) => {}
                done => return done.map(|()| true),
            }
        }
    }

    async fn forget_jobs(&self, jobs: &[&Job], dry_run: bool) -> Result<Vec<String>, DriverError> {
        let mut forgotten = Vec::new();
        for job in jobs {
            if dry_run || self.forget_job(&job.id).await? {
                forgotten.push(job.id.to_string());
            }
        }
        Ok(forgotten)
    }

    /// Removes a job that is over from records and indexes; false when it is not over or was removed meanwhile.
    async fn forget_job(&self, job: &JobId) -> Result<bool, DriverError> {
        let stored = match self.records.job(job).await {
            Ok(stored) if is_over(&stored.value) => stored,
            Ok(_) | Err(DriverError::UnknownJob { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut change = Change::begin(self).await?;
        change.remove_job(&stored).await?;
        match change.commit().await {
            Err(error) if is_conflict(&error) => Ok(false),
            done => done.map(|()| true),
        }
    }
}

fn is_over(job: &Job) -> bool {
    match job.state {
        JobState::Finished { .. } | JobState::Cancelled => true,
        JobState::Waiting { .. } | JobState::Active { .. } | JobState::Stuck { .. } | JobState::InReview => {
            false
        }
    }
}

fn is_surplus(family: &Family, version: &AdapterVersion) -> bool {
    let refused = match version.status {
        AdapterStatus::Rejected | AdapterStatus::Deprecated => true,
        AdapterStatus::PendingReview | AdapterStatus::InReview | AdapterStatus::Approved => false,
    };
    refused && family.aliases_of(&version.adapter_id).is_empty()
}

/// Versions that are not used any more and were decided on before the grace time began.
fn surplus_versions(families: &[Family], now: Timestamp, grace: Duration) -> BTreeSet<String> {
    let mut surplus = BTreeSet::new();
    for family in families {
        for version in &family.versions {
            let decided = [
                version.evaluation.as_ref().map(|evaluation| &evaluation.at),
                version.reviews.last().map(|review| &review.at),
                version.deprecation.as_ref().map(|deprecation| &deprecation.at),
            ];
            let decided =
                decided.into_iter().flatten().filter_map(|at| at.parse::<jiff::Timestamp>().ok()).max();
            let settled = decided.is_some_and(|at| now.since(Timestamp(at.as_millisecond())) >= grace);
            if settled && is_surplus(family, version) {
                surplus.insert(version.adapter_id.clone());
            }
        }
    }
    surplus
}

/// The jobs that made versions which have their files. Such a version can be rolled out, reviewed and trained on further, and
/// for that its job tells base model, policy of the gate and specification.
fn makers<'a>(families: &'a [Family], surplus: &BTreeSet<String>) -> BTreeSet<&'a JobId> {
    let versions = families.iter().flat_map(|family| &family.versions);
    let with_files = versions
        .filter(|version| version.files_removed_at.is_none() && !surplus.contains(&version.adapter_id));
    with_files.filter_map(|version| version.lineage.as_ref()).map(|lineage| &lineage.job).collect()
}

fn keeper_of(
    object: &StoredObject,
    references: &References,
    now: Timestamp,
    grace: Duration,
) -> Option<String> {
    if let Some(keeper) = references.keeper(&object.path) {
        return Some(keeper.to_owned());
    }
    if let Some(job) = job_of(&object.path)
        && !references.known_jobs.contains(job)
    {
        return Some("a job that the state store does not know".to_owned());
    }
    (now.since(object.written_at) < grace).then(|| "the grace time".to_owned())
}

/// The job below whose prefix a file lies.
fn job_of(path: &str) -> Option<&str> {
    path.strip_prefix("jobs/")?.split('/').next()
}

/// The attempt or dataset that a file belongs to.
fn owner_of(path: &str) -> String {
    path.split('/').take(4).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests;
