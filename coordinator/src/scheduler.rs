//! The scheduler: admits waiting jobs, fairly among tenants and within the limits.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
    time::Duration,
};

use clara_lifecycle::{
    id::JobId,
    job::{Event, Rejected},
    queue::Hold,
    resources::PriorityBand,
};
use clara_runtime::state::{Commit, IndexChange, Limit, Order, Page, StateError};
use tokio_util::sync::CancellationToken;

use crate::{
    driver::{Driver, DriverError},
    indexes::{self, TENANTS},
    outage::Outage,
    records::is_conflict,
};

/// How often waiting jobs are looked at when nothing woke the scheduler.
const POLL: Duration = Duration::from_millis(200);
/// How many tenants and how many jobs of each are looked at in one go.
const TENANTS_AT_ONCE: usize = 1000;
const JOBS_AT_ONCE: usize = 32;

/// How many jobs go on at the same time, and who comes first.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Most active jobs in all.
    pub max_active_jobs: u64,
    /// Most active jobs of a tenant that has no share of its own.
    pub max_active_jobs_per_tenant: u64,
    /// Shares of single tenants, by the value of the label `tenant`.
    pub shares: BTreeMap<String, Share>,
}

/// One tenant's share.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// Relative to the other tenants, greater than 0; 1 where nothing is said.
    pub weight: f64,
    /// Most active jobs.
    pub max_active_jobs: u64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { max_active_jobs: 1000, max_active_jobs_per_tenant: 1000, shares: BTreeMap::new() }
    }
}

impl Schedule {
    pub(crate) fn share(&self, tenant: &str) -> Share {
        let usual = Share { weight: 1.0, max_active_jobs: self.max_active_jobs_per_tenant };
        self.shares.get(tenant).cloned().unwrap_or(usual)
    }

    /// What must hold for a job of `tenant` to be admitted.
    pub(crate) fn limits(&self, tenant: &str) -> Vec<Limit> {
        let below = self.share(tenant).max_active_jobs;
        vec![
            Limit { index: indexes::in_state("active"), below: self.max_active_jobs },
            Limit { index: indexes::active(tenant), below },
        ]
    }
}

/// Runs until `shutdown`.
pub(crate) async fn schedule(driver: Driver, shutdown: CancellationToken) {
    let mut outage = Outage::of("admitting waiting jobs");
    while !shutdown.is_cancelled() {
        // There may be more.
        if outage.see(admit_waiting(&driver).await).is_some_and(|admitted| admitted > 0) {
            continue;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = driver.wake.notified() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// One tenant with waiting jobs.
#[derive(Debug)]
struct Contender {
    tenant: String,
    weight: f64,
    active: u64,
    max_active: u64,
    /// Members of its waiting jobs, the first one last.
    jobs: Vec<String>,
}

/// Band, active jobs for the weight, and the job.
type Rank = (Reverse<PriorityBand>, f64, String);

fn in_order(a: &Rank, b: &Rank) -> Ordering {
    a.partial_cmp(b).unwrap_or(Ordering::Equal)
}

impl Contender {
    fn next(&self) -> Option<&str> {
        self.jobs.last().map(String::as_str).filter(|_| self.active < self.max_active)
    }

    /// The smallest is served first: the more urgent band, then who has least for its weight, then the oldest job.
    fn rank(&self, member: &str) -> Rank {
        let (urgency, job) = member.split_once('/').unwrap_or(("9", member));
        let priority = 9_u8.saturating_sub(urgency.parse().unwrap_or(9));
        let band = Reverse(PriorityBand::of(priority));
        #[expect(clippy::cast_precision_loss, reason = "far fewer jobs than 2^53 are active")]
        let load = self.active as f64 / self.weight;
        (band, load, job.to_owned())
    }
}

/// Admits what there is room for. Answers how many jobs.
pub(crate) async fn admit_waiting(driver: &Driver) -> Result<usize, DriverError> {
    let (mut room, mut contenders) = look(driver).await?;
    let mut admitted = 0;
    while room > 0 {
        let ranked = contenders.iter_mut().filter_map(|contender| {
            let rank = contender.rank(contender.next()?);
            Some((rank, contender))
        });
        let first = ranked.min_by(|(a, _), (b, _)| in_order(a, b));
        let Some((_, contender)) = first else { break };
        let Some(member) = contender.jobs.pop() else { break };
        match admit(driver, &contender.tenant, &member).await {
            Ok(true) => {
                contender.active += 1;
                room -= 1;
                admitted += 1;
            }
            // Another coordinator was faster, or the job was cancelled.
            Ok(false) => {}
            Err(DriverError::State(StateError::LimitReached { .. })) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(admitted)
}

/// The tenant whose job is admitted before the next one of `tenant`, if there is one.
pub(crate) async fn whose_turn(driver: &Driver, tenant: &str) -> Result<Option<Hold>, DriverError> {
    let (_, contenders) = look(driver).await?;
    let Some(ours) = contenders.iter().find(|contender| contender.tenant == tenant) else { return Ok(None) };
    let Some(our_rank) = ours.next().map(|member| ours.rank(member)) else { return Ok(None) };
    let ranked =
        contenders.iter().filter_map(|contender| Some((contender.rank(contender.next()?), contender)));
    let first = ranked.filter(|(rank, _)| *rank < our_rank).min_by(|(a, _), (b, _)| in_order(a, b));
    Ok(first.map(|(rank, contender)| Hold::Turn {
        tenant: contender.tenant.clone(),
        active: contender.active,
        weight: contender.weight,
        is_more_urgent: rank.0 < our_rank.0,
    }))
}

/// The room that is left, and the tenants that want it.
async fn look(driver: &Driver) -> Result<(u64, Vec<Contender>), DriverError> {
    let state = &driver.records.state;
    let page = |limit| Page { after: None, limit, order: Order::Ascending };
    let tenants = state.members(TENANTS, &page(TENANTS_AT_ONCE)).await?;
    let active = std::iter::once(indexes::in_state("active"));
    let active: Vec<String> = active.chain(tenants.iter().map(|tenant| indexes::active(tenant))).collect();
    let mut sizes = state.sizes(&active).await?.into_iter();
    let room = driver.schedule.max_active_jobs.saturating_sub(sizes.next().unwrap_or_default());
    let mut contenders = Vec::new();
    for (tenant, active) in tenants.into_iter().zip(sizes) {
        let mut jobs = state.members(&indexes::waiting(&tenant), &page(JOBS_AT_ONCE)).await?;
        if jobs.is_empty() {
            forget(driver, tenant).await?;
            continue;
        }
        jobs.reverse();
        let Share { weight, max_active_jobs: max_active } = driver.schedule.share(&tenant);
        contenders.push(Contender { tenant, weight, active, max_active, jobs });
    }
    Ok((room, contenders))
}

/// Admits one job. Answers whether it was waiting.
async fn admit(driver: &Driver, tenant: &str, member: &str) -> Result<bool, DriverError> {
    let (_, id) = member.split_once('/').unwrap_or_default();
    let id: JobId =
        id.parse().map_err(|error| DriverError::Invalid(format!("index of waiting jobs: {error}")))?;
    let limits = driver.schedule.limits(tenant);
    match driver.apply_within(&id, Event::Admitted, limits).await {
        Ok(_) => Ok(true),
        Err(DriverError::Rejected(Rejected::NotApplicable { .. } | Rejected::Cancelled)) => Ok(false),
        Err(error) if is_conflict(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Drops a tenant from those that are looked at, unless a job of it began to wait meanwhile.
async fn forget(driver: &Driver, tenant: String) -> Result<(), DriverError> {
    let limits = vec![Limit { index: indexes::waiting(&tenant), below: 1 }];
    let indexes = vec![IndexChange { index: TENANTS.to_owned(), member: tenant, present: false }];
    match driver.records.state.commit(&Commit { indexes, limits, ..Commit::default() }).await {
        Ok(()) | Err(StateError::LimitReached { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
