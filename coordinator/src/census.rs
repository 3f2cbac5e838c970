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
    leases: BTreeMap<Stage, u64>,
    /// The longest wait in each queue that has a task.
    oldest: BTreeMap<QueueName, Duration>,
}

impl Census {
    /// Looks at all active jobs; admission keeps them few.
    ///
    /// # Errors
    /// When the state store fails. A record that cannot be read is left out: who uses it says so.
    pub(crate) async fn take(driver: &Driver) -> Result<Self, DriverError> {
        let state = &driver.records.state;
        let now = state.now().await?;
        let (index, mut census) = (indexes::in_state("active"), Self::default());
        let mut page = Page { after: None, limit: PAGE, order: Order::Ascending };
        loop {
            let ids = state.members(&index, &page).await?;
            for job in driver.records.jobs(&ids).await? {
                match job {
                    Ok(job) => census.see(&job.value, now),
                    Err(error) => tracing::debug!("a job is not counted: {error}"),
                }
            }
            let is_last = ids.len() < PAGE;
            page.after = ids.into_iter().next_back();
            if is_last {
                return Ok(census);
            }
        }
    }

    fn see(&mut self, job: &Job, now: Timestamp) {
        let JobState::Active { stage } = job.state else { return };
        let record = job.stages.get(stage);
        match &record.state {
            StageState::Leased(_) => *self.leases.entry(stage).or_default() += 1,
            StageState::Queued { not_before, .. } => {
                let since = record.queued_at.unwrap_or(*not_before);
                if since <= now {
                    let queue = QueueName::of(&task_of(job, stage, record.attempt));
                    let oldest = self.oldest.entry(queue).or_default();
                    *oldest = now.since(since).max(*oldest);
                }
            }
            StageState::Waiting
            | StageState::Succeeded { .. }
            | StageState::Failed
            | StageState::Cancelled => {}
        }
    }

    /// Records what was found; of every one of `queues`, also when nothing waits in it.
    pub(crate) fn record(&self, queues: impl IntoIterator<Item = QueueName>) {
        for stage in Stage::ALL {
            metrics::leases_active(stage, self.leases.get(&stage).copied().unwrap_or_default());
        }
        for queue in queues {
            metrics::queue_oldest(&queue, self.oldest.get(&queue).copied().unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests;
