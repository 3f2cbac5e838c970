//! Knowledge gaps: listed from evaluations, resolved by people, and trained away by a job for their data.

use std::collections::BTreeMap;

use clara_lifecycle::{
    adapter::Family,
    gaps::{GapFilter, GapNote, gaps_of, query_of, sort_by_severity},
    id::JobId,
    job::Job,
    results::StageResult,
    score::{Evaluation, GapStatus, KnowledgeGap},
    spec::JobSpec,
    stage::Stage,
};
use clara_runtime::{artifacts::ArtifactStore, state::RecordKey};

use crate::{
    change::Change,
    driver::{Driver, DriverError, audit},
    evidence,
    records::{Stored, is_conflict},
    submit::{Submission, SubmissionCheck},
};

#[cfg(test)]
mod tests;

const GAP: &str = "gap";

/// The label of a job that trains on data for gaps: how many.
const GAPS_LABEL: &str = "gaps";

/// Where gaps are looked for, and which of them are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct GapQuery {
    /// Only versions of this domain.
    pub(crate) domain: Option<String>,
    /// Only this version.
    pub(crate) adapter_id: Option<String>,
    /// Every evaluated version instead of each family's newest.
    pub(crate) all_versions: bool,
    pub(crate) filter: GapFilter,
}

/// How a job for gaps is made.
#[derive(Debug, Clone)]
pub(crate) struct GapTraining {
    /// Takes at most so many gaps, the worst.
    pub(crate) limit: usize,
    /// Asks for the data of the job before as well.
    pub(crate) keep_query: bool,
    pub(crate) dry_run: bool,
    pub(crate) actor: String,
}

/// A job for gaps, or what it would be.
#[derive(Debug)]
pub(crate) struct SubmittedForGaps {
    pub(crate) gaps: Vec<KnowledgeGap>,
    pub(crate) spec: JobSpec,
    /// `None` after a rehearsal.
    pub(crate) job: Option<Job>,
}

impl Driver {
    /// The gaps that evaluations show, the worst first.
    pub(crate) async fn gaps(
        &self,
        query: &GapQuery,
        artifacts: &ArtifactStore,
    ) -> Result<Vec<KnowledgeGap>, DriverError> {
        let notes = self.gap_notes().await?;
        let mut gaps = Vec::new();
        let families = self.families_of(query).await?;
        for family in &families {
            let evaluations = self.evaluations(family, query, artifacts).await?;
            gaps.extend(gaps_of(&evaluations, &notes));
        }
        if let Some(adapter_id) = &query.adapter_id {
            gaps.retain(|gap| gap.adapter_id.as_ref() == Some(adapter_id));
        }
        gaps.retain(|gap| query.filter.takes(gap));
        self.count_records(&mut gaps, &notes, &families).await?;
        sort_by_severity(&mut gaps);
        Ok(gaps)
    }

    /// Closes gaps by hand; all of them or none.
    pub(crate) async fn resolve_gaps(
        &self,
        gap_ids: &[String],
        (actor, notes): (&str, &str),
        artifacts: &ArtifactStore,
    ) -> Result<Vec<KnowledgeGap>, DriverError> {
        if actor.trim().is_empty() || notes.trim().is_empty() {
            let message = "closing a gap needs who did it (--actor) and how (--notes)";
            return Err(DriverError::Invalid(message.to_owned()));
        }
        let query = named(gap_ids);
        let gaps = self.gaps(&query, artifacts).await?;
        known(gap_ids, &gaps)?;
        self.note_gaps(&gaps, (GapStatus::Resolved, None), (actor, notes)).await?;
        self.gaps(&query, artifacts).await
    }

    /// Submits a job like the one that made the newest version, with a query for the data of the open gaps.
    pub(crate) async fn train_gaps(
        &self,
        mut query: GapQuery,
        training: &GapTraining,
        (check, artifacts): (Option<&dyn SubmissionCheck>, &ArtifactStore),
    ) -> Result<SubmittedForGaps, DriverError> {
        query.all_versions |= !query.filter.gap_ids.is_empty();
        if query.filter.gap_ids.is_empty() {
            query.filter.status = Some(GapStatus::Open);
        }
        let mut gaps = self.gaps(&query, artifacts).await?;
        known(&query.filter.gap_ids, &gaps)?;
        gaps.truncate(training.limit);
        let family = self.family_of_gaps(&gaps).await?;
        let job = self.newest_job(&family).await?.ok_or_else(|| no_job(&family))?;
        let spec = spec_for(&job, &gaps, training.keep_query);
        let submission = if training.dry_run { Submission::DryRun } else { Submission::New };
        let job = self.submit(spec.clone(), check, submission).await?.job;
        if let Some(job) = &job {
            let notes = format!("trained on by {}", job.id);
            let by = (training.actor.as_str(), notes.as_str());
            self.note_gaps(&gaps, (GapStatus::InProgress, Some(&job.id)), by).await?;
        }
        Ok(SubmittedForGaps { gaps, spec, job })
    }

    async fn families_of(&self, query: &GapQuery) -> Result<Vec<Family>, DriverError> {
        let mut families: Vec<Family> = self.records.families().await?;
        if let Some(domain) = &query.domain {
            families.retain(|family| family.domain.as_str() == domain);
        }
        if let Some(adapter_id) = &query.adapter_id {
            families.retain(|family| family.version(adapter_id).is_some());
            if families.is_empty() {
                let message = format!("there is no adapter {adapter_id}; `clara registry list` shows all");
                return Err(DriverError::Invalid(message));
            }
        }
        Ok(families)
    }

    /// The evaluations of a family, the newest first: all of them when older versions are asked for, else the newest
    /// alone.
    async fn evaluations(
        &self,
        family: &Family,
        query: &GapQuery,
        artifacts: &ArtifactStore,
    ) -> Result<Vec<Evaluation>, DriverError> {
        let all = query.all_versions || query.adapter_id.is_some();
        let mut evaluations = Vec::new();
        for version in &family.versions {
            let evidence = self.evidence(version).await?;
            let Some(judged) = &evidence.evaluation else { continue };
            match evidence::evaluation(artifacts, judged).await {
                Ok(evaluation) => evaluations.push(evaluation),
                Err(error) if evidence.is_elsewhere(&error) => continue,
                Err(error) => return Err(error),
            }
            if !all {
                break;
            }
        }
        Ok(evaluations)
    }

    /// The job of the newest version that was judged, of those whose jobs have a record.
    async fn newest_job(&self, family: &Family) -> Result<Option<Job>, DriverError> {
        for lineage in family.versions.iter().filter_map(|version| version.lineage.as_ref()) {
            match self.records.job(&lineage.job).await {
                Ok(job) if job.value.result(Stage::Judge).is_some() => return Ok(Some(job.value)),
                Ok(_) | Err(DriverError::UnknownJob { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn gap_notes(&self) -> Result<BTreeMap<String, GapNote>, DriverError> {
        let notes: Vec<GapNote> = self.records.all(GAP).await?;
        Ok(notes.into_iter().map(|note| (note.gap_id.clone(), note)).collect())
    }

    /// Fills in how many records the job for a gap has found.
    async fn count_records(
        &self,
        gaps: &mut [KnowledgeGap],
        notes: &BTreeMap<String, GapNote>,
        families: &[Family],
    ) -> Result<(), DriverError> {
        let mut counts: BTreeMap<JobId, u64> = BTreeMap::new();
        for gap in gaps {
            let Some(job) = notes.get(&gap.gap_id).and_then(|note| note.job.as_ref()) else { continue };
            if !counts.contains_key(job) {
                let records = match self.records.job(job).await {
                    Ok(found) => match found.value.result(Stage::Ingest) {
                        Some(StageResult::Ingest(dataset)) => dataset.train_records,
                        _ => 0,
                    },
                    Err(DriverError::UnknownJob { .. }) => records_of(families, job).unwrap_or_default(),
                    Err(error) => return Err(error),
                };
                counts.insert(job.clone(), records);
            }
            gap.training_samples_collected = counts.get(job).copied().unwrap_or_default();
        }
        Ok(())
    }

    async fn family_of_gaps(&self, gaps: &[KnowledgeGap]) -> Result<Family, DriverError> {
        let mut ids: Vec<&str> =
            gaps.iter().filter_map(|gap| Family::id_of(gap.adapter_id.as_deref()?)).collect();
        ids.dedup();
        ids.sort_unstable();
        ids.dedup();
        match ids.as_slice() {
            [] => Err(DriverError::Invalid("there are no open gaps that match".to_owned())),
            [one] => {
                let family = self.records.family(one).await?;
                Ok(family.ok_or_else(|| DriverError::Invalid(format!("there is no family {one}")))?.value)
            }
            several => Err(DriverError::Invalid(format!(
                "the gaps belong to several families ({}), a job trains one; choose with --domain or --adapter",
                several.join(", ")
            ))),
        }
    }

    async fn note_gaps(
        &self,
        gaps: &[KnowledgeGap],
        (status, job): (GapStatus, Option<&JobId>),
        (actor, notes): (&str, &str),
    ) -> Result<(), DriverError> {
        let action = if status == GapStatus::Resolved { "gap.resolved" } else { "gap.in_progress" };
        loop {
            let mut change = Change::begin(self).await?;
            let at = change.now_text();
            for gap in gaps {
                let key = RecordKey::new(GAP, gap.gap_id.clone());
                let version = self.records.load::<GapNote>(&key).await?.and_then(|stored| stored.version);
                let value = GapNote {
                    gap_id: gap.gap_id.clone(),
                    status,
                    actor: actor.to_owned(),
                    at: at.clone(),
                    notes: notes.to_owned(),
                    job: job.cloned(),
                };
                change.write(key, &Stored { version, value })?;
                if let Some(adapter_id) = &gap.adapter_id {
                    let reason = format!("gap {}: {notes}", gap.gap_id);
                    audit(&mut change, action, adapter_id, (actor, &reason)).await?;
                }
            }
            match change.commit().await {
                Err(error) if is_conflict(&error) => {}
                done => return done,
            }
        }
    }
}

/// Records that the version of a job was trained on.
fn records_of(families: &[Family], job: &JobId) -> Option<u64> {
    let mut lineages =
        families.iter().flat_map(|family| &family.versions).filter_map(|version| version.lineage.as_ref());
    lineages.find(|lineage| lineage.job == *job)?.train_records
}

fn named(gap_ids: &[String]) -> GapQuery {
    let filter = GapFilter { gap_ids: gap_ids.to_vec(), ..GapFilter::default() };
    GapQuery { all_versions: true, filter, ..GapQuery::default() }
}

fn known(gap_ids: &[String], gaps: &[KnowledgeGap]) -> Result<(), DriverError> {
    let unknown: Vec<&str> =
        gap_ids.iter().filter(|id| !gaps.iter().any(|gap| gap.gap_id == **id)).map(String::as_str).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(DriverError::Invalid(format!(
        "there is no gap {}; `clara gaps list --all-versions` shows all",
        unknown.join(", ")
    )))
}

fn no_job(family: &Family) -> DriverError {
    DriverError::Invalid(format!(
        "no judged version of {} has a job here whose specification could be taken; submit one with `clara run`",
        family.family_id
    ))
}

/// The specification of the job before, asking for the data of the gaps.
fn spec_for(job: &Job, gaps: &[KnowledgeGap], keep_query: bool) -> JobSpec {
    let mut spec = JobSpec::clone(&job.spec);
    let kept = spec.ingest.query.take().filter(|_| keep_query);
    let query = query_of(gaps);
    spec.ingest.query = Some(kept.map_or(query.clone(), |kept| format!("{kept} {query}")));
    spec.version = None;
    spec.idempotency_key = None;
    spec.labels.insert(GAPS_LABEL.to_owned(), gaps.len().to_string());
    spec
}
