//! What only the records of active jobs tell: how many leases there are, and how long tasks have waited.

use std::{collections::BTreeMap, time::Duration};

use clara_lifecycle::{
    job::{Job, JobState, StageState},
    stage::Stage,
    time::Timestamp,
};
use clara_runtime::{
    broker::QueueName,
    metrics,
    state::{Order, Page},
};

use crate::{
    change::task_of,
    driver::{Driver, DriverError},
    indexes,
};

/// How often all active jobs are looked at.
pub(crate) const EVERY: Duration = Duration::from_secs(15);
const PAGE: usize = 250;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// Attempts that workers hold a lease for, by the queue that their tasks came from.
    pub(crate) leases: BTreeMap<QueueName, u64>,
    /// What waits in each queue that has a task.
    pub(crate) waits: BTreeMap<QueueName, Waits>,
}

/// Tasks of one queue that may be claimed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) tasks: u64,
    /// How long the oldest has waited.
    pub(crate) longest: Duration,
}

impl Census {
    /// Looks at all active jobs.
    ///
    /// # Errors
    /// When the state store fails.
    pub(crate) async fn take(driver: &Driver) -> Result<Self, DriverError> {
        let now = driver.records.state.now().await?;
        let mut census = Self::default();
        each_active(driver, |job| census.see(job, now)).await?;
        Ok(census)
    }

    fn see(&mut self, job: &Job, now: Timestamp) {
        let JobState::Active { stage } = job.state else { return };
        let record = job.stages.get(stage);
        if let StageState::Leased(_) = record.state {
            let queue = QueueName::of(&task_of(job, stage, record.attempt));
            *self.leases.entry(queue).or_default() += 1;
        }
        if let Some((queue, since)) = waits_in(job, now) {
            let waits = self.waits.entry(queue).or_default();
            waits.tasks += 1;
            waits.longest = now.since(since).max(waits.longest);
        }
    }

    /// Records what was found; of every one of `queues`, also when nothing waits in it.
    pub(crate) fn record(&self, queues: impl IntoIterator<Item = QueueName>) {
        for stage in Stage::ALL {
            let leases = self.leases.iter().filter(|(queue, _)| queue.stage == stage);
            metrics::leases_active(stage, leases.map(|(_, leases)| leases).sum());
        }
        for queue in queues {
            let waits = self.waits.get(&queue).copied().unwrap_or_default();
            metrics::queue_oldest(&queue, waits.longest);
        }
    }
}

/// The queue in which a task of `job` waits that may be claimed, and since when.
pub(crate) fn waits_in(job: &Job, now: Timestamp) -> Option<(QueueName, Timestamp)> {
    let JobState::Active { stage } = job.state else { return None };
    let record = job.stages.get(stage);
    let StageState::Queued { not_before, .. } = record.state else { return None };
    let since = record.queued_at.unwrap_or(not_before);
    (since <= now).then(|| (QueueName::of(&task_of(job, stage, record.attempt)), since))
}

/// Shows every active job to `see`; admission keeps them few. A record that cannot be read is left out: who uses it
/// says so.
///
/// # Errors
/// When the state store fails.
pub(crate) async fn each_active(driver: &Driver, mut see: impl FnMut(&Job)) -> Result<(), DriverError> {
    let (state, index) = (&driver.records.state, indexes::in_state("active"));
    let mut page = Page { after: None, limit: PAGE, order: Order::Ascending };
    loop {
        let ids = state.members(&index, &page).await?;
        for job in driver.records.jobs(&ids).await? {
            match job {
                Ok(job) => see(&job.value),
                Err(error) => tracing::debug!("a job is not counted: {error}"),
            }
        }
        let is_last = ids.len() < PAGE;
        page.after = ids.into_iter().next_back();
        if is_last {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
