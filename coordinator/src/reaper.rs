//! The reaper: takes back leases whose worker fell silent or stands still, and republishes unclaimed tasks.

use std::time::Duration;

use clara_lifecycle::{
    id::{InvalidName, JobId},
    job::{Event, Job, JobState, Rejected, StageState},
    stage::Stage,
    time::Timestamp,
};
use clara_runtime::{
    broker::{Broker, QueueName},
    metrics,
    state::RecordKey,
};
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
/// How often all jobs are looked at.
const SWEEP: Duration = Duration::from_secs(15);

/// Runs until `shutdown`.
pub(crate) async fn reap(driver: Driver, broker: std::sync::Arc<dyn Broker>, shutdown: CancellationToken) {
    let mut next_sweep = tokio::time::Instant::now();
    while !shutdown.is_cancelled() {
        if let Err(error) = look_at_due(&driver).await {
            warn!("leases could not be checked: {error}; trying again");
        }
        if tokio::time::Instant::now() >= next_sweep {
            next_sweep = tokio::time::Instant::now() + SWEEP;
            if let Err(error) = sweep(&driver, broker.as_ref()).await {
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
            Ok(after) => {
                if let JobState::Active { stage } | JobState::Stuck { stage } = after.state {
                    metrics::lease_expired(stage);
                }
                info!(job.id = %job, "took back a lease of {job}");
            }
            Err(DriverError::Rejected(Rejected::NotDue)) => {}
            Err(error @ DriverError::State(_)) => return Err(error),
            // One damaged record must not keep the others waiting.
            Err(error) => warn!(job.id = %job, "the lease of {job} could not be checked: {error}"),
        }
    }
    Ok(())
}

/// Publishes again what nobody claimed, and counts what is there.
async fn sweep(driver: &Driver, broker: &dyn Broker) -> Result<(), DriverError> {
    let now = driver.records.state.now().await?;
    let jobs: Vec<Job> = driver.records.all(JOB).await?;
    count_by_state(&jobs);
    for stage in Stage::ALL {
        let queue = QueueName(stage);
        match broker.depth(queue).await {
            Ok(depth) => {
                metrics::queue_depth(queue, depth);
                // Tasks that wait behind others are not lost.
                if depth.ready == 0 && depth.unacknowledged == 0 {
                    republish_unclaimed(&jobs, stage, now, broker).await;
                }
            }
            Err(error) => warn!("the length of queue {queue} is not known: {error}"),
        }
    }
    Ok(())
}

async fn republish_unclaimed(jobs: &[Job], stage: Stage, now: Timestamp, broker: &dyn Broker) {
    for job in jobs.iter().filter(|job| job.state == JobState::Active { stage }) {
        let record = job.stages.get(stage);
        if unclaimed(&record.state, now) {
            let task = task_of(&job.id, stage, record.attempt, job.spec.priority);
            if let Err(error) = broker.publish(&task).await {
                warn!(job.id = %job.id, "a task could not be published again: {error}");
            }
        }
    }
}

fn count_by_state(jobs: &[Job]) {
    let states = ["active", "stuck", "in review", "finished", "cancelled"];
    for state in states {
        metrics::jobs(state, jobs.iter().filter(|job| job.state.name() == state).count());
    }
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

#[cfg(test)]
mod tests;
