//! What registration keeps on every state store: one version per job, all different, and nothing half done after a crash.

mod dying;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc, time::Duration};

use clara_lifecycle::{
    artifact::{ArtifactFile, ArtifactRef},
    attempt::GoldenInput,
    audit::{AuditEntry, find_break},
    digest::Digest,
    id::{Fence, JobId},
    job::{AttemptKey, Event, Job, LeaseTerms, Rejected, StageState},
    results::{DatasetResult, StageResult, TrainingResult},
    spec::JobSpec,
    stage::Stage,
};
use clara_runtime::state::StateStore;
use futures::future::try_join_all;

use crate::{
    driver::{Driver, DriverError},
    records::audit_stream,
    scheduler::Schedule,
};
use dying::Dying;

const TERMS: LeaseTerms =
    LeaseTerms { ttl: Duration::from_hours(1), progress_within: Duration::from_hours(1) };

/// How often a call is repeated after a fault.
const PATIENCE: usize = 500;

type Finding<T = ()> = Result<T, String>;

/// Lets `jobs` trainings of one family end at the same time, each reported twice, by coordinators over `faulty`, and
/// looks at the outcome through `state`, which is the same store without faults.
///
/// # Errors
/// What does not hold.
pub async fn concurrent_registrations(
    state: &Arc<dyn StateStore>,
    faulty: &[Arc<dyn StateStore>],
    spec: &JobSpec,
    jobs: usize,
) -> Finding {
    let quiet = driver_over(state);
    let mut trained = Vec::new();
    for number in 0..jobs {
        trained.push((number, prepared(&quiet, spec).await?));
    }
    let drivers: Vec<Driver> = faulty.iter().map(driver_over).collect();
    let reports = trained.iter().flat_map(|(number, (job, key))| {
        let one = drivers.get(number % drivers.len().max(1)).unwrap_or(&quiet);
        let other = drivers.get((number + 1) % drivers.len().max(1)).unwrap_or(&quiet);
        [one, other].map(|driver| report_until_taken(driver, job, *key))
    });
    try_join_all(reports).await?;
    let ids = trained.iter().map(|(_, (job, _))| job.clone());
    let ids: BTreeSet<JobId> = ids.collect();
    let versions = registered(&quiet, spec, &ids).await?;
    let distinct: BTreeSet<&String> = versions.values().flatten().collect();
    let once = versions.values().all(|ids| ids.len() == 1);
    ensure(once && distinct.len() == jobs, || format!("{jobs} jobs have the versions {versions:?}"))
}

/// Lets a coordinator die at every call that the registration makes of the store, before the call and after it, and
/// answers at how many points it died.
///
/// # Errors
/// What does not hold.
pub async fn crash_at_every_point(state: &Arc<dyn StateStore>, spec: &JobSpec) -> Finding<usize> {
    let quiet = driver_over(state);
    let mut points = 0;
    for after_the_call in [false, true] {
        for calls in 0.. {
            let (job, key) = prepared(&quiet, spec).await?;
            let dying = Arc::new(Dying::new(Arc::clone(state), calls, after_the_call));
            let store: Arc<dyn StateStore> = Arc::clone(&dying) as _;
            let taken = report(&driver_over(&store), &job, key).await;
            let died = dying.is_dead();
            ensure(died == taken.is_err(), || format!("after {calls} calls: {taken:?}"))?;
            whole_or_not_at_all(&quiet, spec, &job).await?;
            // The worker reports again, to a coordinator that was started anew.
            report_until_taken(&driver_over(state), &job, key).await?;
            let versions = registered(&quiet, spec, &BTreeSet::from([job.clone()])).await?;
            let once = versions.get(&job).is_some_and(|ids| ids.len() == 1);
            ensure(once, || format!("after {calls} calls {job} has the versions {versions:?}"))?;
            if !died {
                break;
            }
            points += 1;
        }
    }
    Ok(points)
}

fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Finding {
    if holds { Ok(()) } else { Err(broken()) }
}

fn told(error: &DriverError) -> String {
    error.to_string()
}

fn driver_over(state: &Arc<dyn StateStore>) -> Driver {
    Driver::new(Arc::clone(state), Schedule::default())
}

fn artifact(name: &str) -> ArtifactRef {
    let file = ArtifactFile {
        path: format!("{name}.bin"),
        size_bytes: name.len() as u64,
        digest: Digest::of(name.as_bytes()),
    };
    ArtifactRef { prefix: format!("contract/{name}"), files: vec![file] }
}

/// A new job whose training was claimed and can be reported.
async fn prepared(driver: &Driver, spec: &JobSpec) -> Finding<(JobId, AttemptKey)> {
    let golden = GoldenInput {
        reference: "contract@1.0.0".to_owned(),
        digest: Digest::of(b"golden"),
        artifact: artifact("golden"),
    };
    let job = driver.create(spec.clone(), golden).await.map_err(|error| told(&error))?;
    let key = claimed(driver, &job.id, Stage::Ingest).await?;
    let dataset = StageResult::Ingest(DatasetResult {
        dataset: artifact("dataset"),
        documents_read: 1,
        documents_kept: 1,
        dropped: BTreeMap::new(),
        train_records: 1,
        validation_records: 0,
        source_digest: Digest::of(b"source"),
        key: None,
        reused_from: None,
    });
    let event = Event::Completed { key, result: Arc::new(dataset) };
    driver.apply(&job.id, event).await.map_err(|error| told(&error))?;
    let key = claimed(driver, &job.id, Stage::Train).await?;
    Ok((job.id, key))
}

async fn claimed(driver: &Driver, job: &JobId, stage: Stage) -> Finding<AttemptKey> {
    let attempt = stored(driver, job).await?.stages.get(stage).attempt;
    let (worker, claim) = ("contract".to_owned(), format!("{job}/{stage}"));
    let event = Event::Claimed { stage, attempt, worker, claim, terms: TERMS };
    let job = driver.apply(job, event).await.map_err(|error| told(&error))?;
    let fence: Fence = match &job.stages.get(stage).state {
        StageState::Leased(lease) => lease.fence,
        other => return Err(format!("{stage} of {} is {other:?} after a claim", job.id)),
    };
    Ok(AttemptKey { stage, attempt, fence })
}

async fn stored(driver: &Driver, job: &JobId) -> Finding<Job> {
    Ok(driver.records.job(job).await.map_err(|error| told(&error))?.value)
}

/// Reports the training; a repetition is as good.
async fn report(driver: &Driver, job: &JobId, key: AttemptKey) -> Result<(), DriverError> {
    let training = StageResult::Train(TrainingResult {
        adapter: artifact("adapter"),
        report: artifact("report"),
        base_model: "contract".to_owned(),
        base_model_digest: Digest::of(b"base"),
        validation_loss_before: None,
        validation_loss_after: None,
        training_loss: 1.0,
        steps: 1,
        tokens: 1,
    });
    match driver.apply(job, Event::Completed { key, result: Arc::new(training) }).await {
        Ok(_) | Err(DriverError::Rejected(Rejected::Duplicate)) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn report_until_taken(driver: &Driver, job: &JobId, key: AttemptKey) -> Finding {
    let mut last = String::new();
    for _ in 0..PATIENCE {
        match report(driver, job, key).await {
            Ok(()) => return Ok(()),
            Err(error @ DriverError::State(_)) => last = told(&error),
            Err(error) => return Err(told(&error)),
        }
        tokio::task::yield_now().await;
    }
    Err(format!("{job} was not taken after {PATIENCE} reports: {last}"))
}

/// The versions that each of `jobs` registered; the audit log must tell of exactly these.
async fn registered(
    driver: &Driver,
    spec: &JobSpec,
    jobs: &BTreeSet<JobId>,
) -> Finding<BTreeMap<JobId, Vec<String>>> {
    let family_id = spec.family();
    let family = driver.records.family(&family_id).await.map_err(|error| told(&error))?;
    let versions = family.map(|family| family.value.versions).unwrap_or_default();
    let ids: BTreeSet<&String> = versions.iter().map(|version| &version.adapter_id).collect();
    ensure(ids.len() == versions.len(), || format!("versions of {family_id} share an id"))?;
    let mut found: BTreeMap<JobId, Vec<String>> = jobs.iter().map(|job| (job.clone(), Vec::new())).collect();
    for version in &versions {
        if let Some(of_job) = version.lineage.as_ref().and_then(|lineage| found.get_mut(&lineage.job)) {
            of_job.push(version.adapter_id.clone());
        }
    }
    let head = driver.records.audit_head(&family_id).await.map_err(|error| told(&error))?.value;
    let log: Vec<AuditEntry> =
        driver.records.events(&audit_stream(&family_id), 0).await.map_err(|error| told(&error))?;
    if let Some(broken) = find_break(&family_id, &log, &head) {
        return Err(broken.sentence());
    }
    let logged: Vec<&String> =
        log.iter().filter(|entry| entry.action == "adapter.registered").map(|entry| &entry.subject).collect();
    let distinct: BTreeSet<&String> = logged.iter().copied().collect();
    ensure(logged.len() == distinct.len() && distinct == ids, || {
        format!("{family_id} has {} versions, its audit log tells of {}", ids.len(), logged.len())
    })?;
    Ok(found)
}

/// After a crash the training either counts, with its version, or nothing of it is visible.
async fn whole_or_not_at_all(driver: &Driver, spec: &JobSpec, job: &JobId) -> Finding {
    let stored = stored(driver, job).await?;
    let counts = matches!(stored.stages.get(Stage::Train).state, StageState::Succeeded { .. });
    let versions = registered(driver, spec, &BTreeSet::from([job.clone()])).await?;
    let ids: Vec<&String> = versions.values().flatten().collect();
    let whole = counts && stored.adapter_id.as_ref().is_some_and(|id| ids == [id]);
    let nothing = !counts && stored.adapter_id.is_none() && ids.is_empty();
    ensure(whole || nothing, || {
        format!("half a registration: training counts: {counts}, {:?}, versions {ids:?}", stored.adapter_id)
    })
}
