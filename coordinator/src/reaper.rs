//! The reaper: takes back leases whose worker fell silent or stands still, republishes unclaimed tasks, and counts.

use std::{sync::Arc, time::Duration};

use clara_lifecycle::{
    id::{ClassName, InvalidName, JobId},
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
    census::{self, Census},
    driver::{Driver, DriverError},
    indexes,
    outage::Outage,
};

const POLL: Duration = Duration::from_millis(500);
const BATCH: usize = 64;
/// How often queues and jobs are counted.
const COUNT: Duration = Duration::from_secs(5);

/// Runs until `shutdown`.
pub(crate) async fn reap(driver: Driver, broker: Arc<dyn Broker>, shutdown: CancellationToken) {
    metrics::coordinator_started();
    let mut next_count = tokio::time::Instant::now();
    let mut next_census = next_count;
    let (mut leases, mut counts) = (Outage::of("checking leases"), Outage::of("counting jobs and messages"));
    let mut active = Outage::of("looking at active jobs");
    while !shutdown.is_cancelled() {
        leases.see(look_at_due(&driver).await);
        if tokio::time::Instant::now() >= next_count {
            next_count = tokio::time::Instant::now() + COUNT;
            counts.see(count(&driver, broker.as_ref()).await);
        }
        if tokio::time::Instant::now() >= next_census {
            next_census = tokio::time::Instant::now() + census::EVERY;
            if let Some(census) = active.see(Census::take(&driver).await) {
                census.record(queues(&driver));
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
            Ok(after) => tell(&after, now),
            Err(DriverError::Rejected(Rejected::NotDue)) => {}
            Err(error @ DriverError::State(_)) => return Err(error),
            // One damaged record must not keep the others waiting.
            Err(error) => warn!(job.id = %job, "the lease of {job} could not be checked: {error}"),
        }
    }
    Ok(())
}

fn tell(job: &Job, now: Timestamp) {
    let (JobState::Active { stage } | JobState::Stuck { stage }) = job.state else { return };
    match job.stages.get(stage).state {
        // An attempt that is repeated starts now or later; this one has waited since before.
        StageState::Queued { not_before, .. } if not_before < now => {
            metrics::task_republished(stage);
            info!(job.id = %job.id, "published the unclaimed task of stage {stage} of {} again", job.id);
        }
        StageState::Queued { .. }
        | StageState::Waiting
        | StageState::Leased(_)
        | StageState::Succeeded { .. }
        | StageState::Failed
        | StageState::Cancelled => {
            metrics::lease_expired(stage);
            info!(job.id = %job.id, "took back a lease of {}", job.id);
        }
    }
}

async fn count(driver: &Driver, broker: &dyn Broker) -> Result<(), String> {
    let states = indexes::STATES.map(indexes::in_state);
    let sizes = driver.records.state.sizes(&states).await.map_err(|error| error.to_string())?;
    for (state, size) in indexes::STATES.into_iter().zip(sizes) {
        metrics::jobs(state, size);
    }
    metrics::dead_letters(broker.dead_letters().await.map_err(|error| error.to_string())?);
    for queue in queues(driver) {
        let depth = broker.depth(&queue).await.map_err(|error| error.to_string())?;
        metrics::queue_depth(&queue, depth);
    }
    driver.forget_workers().await.map_err(|error| error.to_string())
}

/// Every queue that tasks may be in.
pub(crate) fn queues(driver: &Driver) -> Vec<QueueName> {
    let classes: Vec<ClassName> = driver.classes.iter().map(|class| class.name.clone()).collect();
    Stage::ALL.into_iter().flat_map(|stage| QueueName::served(stage, &classes)).collect()
}

fn job_of(key: &RecordKey) -> Result<JobId, InvalidName> {
    key.id.parse()
}

#[cfg(test)]
mod tests;
