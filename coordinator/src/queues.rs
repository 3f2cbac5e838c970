//! What waits in each queue and who serves it, and why a job is where it is.

use std::cmp::Reverse;

use clara_lifecycle::{
    id::JobId,
    job::{Job, JobState, StageState},
    queue::{Explanation, Hold, QueueLine, QueueOverview, Standing},
    stage::Stage,
    time::Timestamp,
};
use clara_runtime::{
    broker::{Broker, QueueName},
    state::{Order, Page},
};

use crate::{
    census::{Census, each_active, waits_in},
    driver::{Driver, DriverError},
    indexes,
    reaper::queues,
    scheduler,
};

const PAGE: usize = 1000;

impl Driver {
    /// All queues. What only the broker tells is missing when it gives no answer.
    pub(crate) async fn queue_overview(&self, broker: &dyn Broker) -> Result<QueueOverview, DriverError> {
        let (census, present) = (Census::take(self).await?, self.present().await?);
        let mut lines = Vec::new();
        let mut broker_answers = true;
        for queue in queues(self) {
            let waits = census.waits.get(&queue).copied().unwrap_or_default();
            let longest_ms = u64::try_from(waits.longest.as_millis()).unwrap_or(u64::MAX);
            let messages = match broker_answers.then_some(broker.depth(&queue)) {
                Some(depth) => depth.await.ok().map(|depth| depth.ready),
                None => None,
            };
            broker_answers = messages.is_some();
            lines.push(QueueLine {
                queue: queue.to_string(),
                waiting: waits.tasks,
                oldest_ms: (waits.tasks > 0).then_some(longest_ms),
                messages,
                running: census.leases.get(&queue).copied().unwrap_or_default(),
                workers: present.iter().filter(|worker| worker.serves(&queue)).count() as u64,
                stage: queue.stage,
                class: queue.class,
                band: queue.band,
            });
        }
        let sizes = [indexes::in_state("waiting"), indexes::in_state("active")];
        let mut sizes = self.records.state.sizes(&sizes).await?.into_iter();
        Ok(QueueOverview {
            queues: lines,
            dead_letters: broker.dead_letters().await.ok(),
            waiting_jobs: sizes.next().unwrap_or_default(),
            active_jobs: sizes.next().unwrap_or_default(),
            max_active_jobs: self.schedule.max_active_jobs,
        })
    }

    /// Why a job is where it is.
    pub(crate) async fn explain(&self, id: &JobId) -> Result<Explanation, DriverError> {
        let job = self.records.job(id).await?.value;
        let now = self.records.state.now().await?;
        let standing = match &job.state {
            JobState::Waiting { stage } => self.waiting(&job, *stage).await?,
            JobState::Active { stage } => self.active(&job, *stage, now).await?,
            JobState::Stuck { stage } => {
                let failure = job.stages.get(*stage).last_failure.clone();
                Standing::Stuck { stage: *stage, failure }
            }
            JobState::InReview => Standing::InReview { adapter_id: job.adapter_id.clone() },
            JobState::Finished { outcome } => Standing::Finished { outcome: *outcome },
            JobState::Cancelled => Standing::Cancelled,
        };
        Ok(Explanation { job: job.id, at: now, standing })
    }

    async fn waiting(&self, job: &Job, stage: Stage) -> Result<Standing, DriverError> {
        let tenant = indexes::tenant(job).to_owned();
        let index = indexes::waiting(&tenant);
        let sizes = [indexes::active(&tenant), index.clone(), indexes::in_state("active")];
        let mut sizes = self.records.state.sizes(&sizes).await?.into_iter();
        let mut next_size = || sizes.next().unwrap_or_default();
        let (active, of, all_active) = (next_size(), next_size(), next_size());
        let share = self.schedule.share(&tenant);
        let mut held_by = Vec::new();
        if all_active >= self.schedule.max_active_jobs {
            held_by.push(Hold::AllJobs { active: all_active, limit: self.schedule.max_active_jobs });
        }
        if active >= share.max_active_jobs {
            held_by.push(Hold::Tenant { active, limit: share.max_active_jobs });
        } else {
            held_by.extend(scheduler::whose_turn(self, &tenant).await?);
        }
        let place = self.members_before(&index, indexes::waiting_member(job)).await? + 1;
        Ok(Standing::Waiting { stage, tenant, place, of, active, weight: share.weight, held_by })
    }

    async fn members_before(&self, index: &str, member: String) -> Result<u64, DriverError> {
        let mut page = Page { after: Some(member), limit: PAGE, order: Order::Descending };
        let mut before = 0;
        loop {
            let members = self.records.state.members(index, &page).await?;
            before += members.len() as u64;
            if members.len() < PAGE {
                return Ok(before);
            }
            page.after = members.into_iter().next_back();
        }
    }

    async fn active(&self, job: &Job, stage: Stage, now: Timestamp) -> Result<Standing, DriverError> {
        let record = job.stages.get(stage);
        let attempt = record.attempt;
        let not_before = match &record.state {
            StageState::Queued { not_before, .. } => *not_before,
            StageState::Leased(lease) => {
                return Ok(Standing::Leased {
                    stage,
                    attempt,
                    worker: lease.worker.clone(),
                    since: record.claimed_at,
                    expires_at: lease.expires_at,
                    progress: Box::new(lease.progress.clone()),
                });
            }
            StageState::Waiting
            | StageState::Succeeded { .. }
            | StageState::Failed
            | StageState::Cancelled => {
                let reason = format!("is active at {stage}, which is neither queued nor leased");
                return Err(DriverError::Record { key: job.id.to_string(), reason });
            }
        };
        let Some((queue, since)) = waits_in(job, now) else {
            return Ok(Standing::BackOff {
                stage,
                attempt,
                until: not_before,
                failures: record.failures,
                max_attempts: job.spec.retry.max_attempts,
                failure: record.last_failure.clone(),
            });
        };
        let (mut workers, mut slots) = (0, 0);
        for worker in self.present().await?.iter().filter(|worker| worker.serves(&queue)) {
            workers += 1;
            slots += u64::from(worker.slots);
        }
        let mut ahead = 0;
        let place = |queue: &QueueName, since, id: &JobId| (Reverse(queue.band), since, id.clone());
        let ours = place(&queue, since, &job.id);
        each_active(self, |other| {
            let Some((theirs, since)) = waits_in(other, now) else { return };
            let same_workers = theirs.stage == queue.stage && theirs.class == queue.class;
            ahead += u64::from(same_workers && place(&theirs, since, &other.id) < ours);
        })
        .await?;
        let (name, class) = (queue.to_string(), queue.class);
        Ok(Standing::Queued { stage, attempt, queue: name, class, since, ahead, workers, slots })
    }
}

#[cfg(test)]
mod tests;
