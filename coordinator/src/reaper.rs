//! The reaper: takes back leases whose worker fell silent or stands still, and republishes unclaimed tasks.

use std::time::Duration;

use clara_lifecycle::{
    id::{InvalidName, JobId},
    job::{Event, Job, JobState, Rejected, StageState},
    time::Timestamp,
};
use clara_runtime::{broker::Broker, state::RecordKey};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    change::task_of,
    driver::{Driver, DriverError},
    records::JOB,
};

const POLL: Duration = Duration::from_millis(500);
const BATCH: usize = 64;
/// A task that nobody claimed for so long is published again; a duplicate is harmless, a lost task is not.
const UNCLAIMED: Duration = Duration::from_mins(1);

/// Runs until `shutdown`.
pub(crate) async fn reap(driver: Driver, broker: std::sync::Arc<dyn Broker>, shutdown: CancellationToken) {
    let mut next_sweep = tokio::time::Instant::now();
    while !shutdown.is_cancelled() {
        if let Err(error) = look_at_due(&driver).await {
            warn!("leases could not be checked: {error}; trying again");
        }
        if tokio::time::Instant::now() >= next_sweep {
            next_sweep += UNCLAIMED;
            if let Err(error) = republish_unclaimed(&driver, broker.as_ref()).await {
                warn!("unclaimed tasks could not be published again: {error}; trying again");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

async fn look_at_due(driver: &Driver) -> Result<(), DriverError> {
    let now = driver.records.state.now().await?;
    for key in driver.records.state.due(now, BATCH).await? {
        let job = job_of(&key).map_err(|error| DriverError::Invalid(error.to_string()))?;
        match driver.apply(&job, Event::DeadlinePassed).await {
            Ok(_) => info!(job.id = %job, "took back a lease of {job}"),
            Err(DriverError::Rejected(Rejected::NotDue)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn republish_unclaimed(driver: &Driver, broker: &dyn Broker) -> Result<(), DriverError> {
    let now = driver.records.state.now().await?;
    let jobs: Vec<Job> = driver.records.all(JOB).await?;
    for job in jobs {
        let JobState::Active { stage } = job.state else { continue };
        let record = job.stages.get(stage);
        if unclaimed(&record.state, now) {
            let task = task_of(&job.id, stage, record.attempt, job.spec.priority);
            if let Err(error) = broker.publish(&task).await {
                warn!(job.id = %job.id, "a task could not be published again: {error}");
            }
        }
    }
    Ok(())
}

fn unclaimed(state: &StageState, now: Timestamp) -> bool {
    match state {
        StageState::Queued { not_before } => now.since(*not_before) > UNCLAIMED,
        StageState::Waiting
        | StageState::Leased(_)
        | StageState::Succeeded { .. }
        | StageState::Failed
        | StageState::Cancelled => false,
    }
}

fn job_of(key: &RecordKey) -> Result<JobId, InvalidName> {
    key.id.parse()
}
