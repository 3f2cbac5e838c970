//! One trial: jobs, faults for a while, calm until everything ended, and the verdict.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context, Result};
use clara_coordinator::DriverError;
use clara_lifecycle::{id::JobId, job::Event, time::Timestamp};
use clara_runtime::{broker::Broker, state::StateStore};
use tokio::time::Instant;

use super::{
    case::{Case, strike},
    invariants::{Invariant, Rest, Violation, check},
    outcome::Outcome,
    users::{bring_to_an_end, golden, history, spec},
    weather::Weather,
    world::World,
};

/// How long a trial may take until everything ended; tasks that are lost again and again wait for hours.
const GIVE_UP_AFTER: Duration = Duration::from_hours(8);
/// How often users look at their jobs.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Runs the trial of `seed`; scratch folders are made in `scratch`.
///
/// # Errors
/// When the trial itself cannot be carried out.
pub fn run(seed: u64, scratch: &Path) -> Result<Outcome<Case>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(Box::pin(trial(seed, scratch)))
}

async fn trial(seed: u64, scratch: &Path) -> Result<Outcome<Case>> {
    let case = Case::of(seed);
    let began = Instant::now();
    let coordinators = 1 + usize::try_from(seed / 14 % 3)?;
    let mut world = World::start(seed, coordinators, case.broker(), scratch.to_owned())?;
    let users = world.coordinator().context("no coordinator runs")?.service.users().clone();
    users.freeze(golden()?, &world.artifacts).await?;
    let jobs = 1 + world.sky.below(5);
    let accepted = submit(&world, jobs).await?;
    world.sky.change(|weather| *weather = case.weather());
    let calm_from = began + world.sky.between(Duration::from_secs(20), Duration::from_secs(70));
    while Instant::now() < calm_from {
        world.sky.pass(100, 6000).await;
        if strike(case, &mut world).await? {
            cancel_one(&world, &accepted).await;
        }
    }
    world.sky.change(|weather| *weather = Weather::default());
    let users = world.coordinator().context("no coordinator runs")?.service.users().clone();
    let ended = bring_to_an_end(&users, &world.sky, &accepted, (LOOK_EVERY, GIVE_UP_AFTER)).await;
    let rest = settle(&world).await?;
    let history = history(&users, accepted, world.journal.executions(), rest).await?;
    let mut violations = check(&history);
    if let Err(error) = ended
        && violations.is_empty()
    {
        violations.push(Violation { invariant: Invariant::EndsOnce, found: format!("{error:#}") });
    }
    let cost = world.journal.cost(&history.jobs);
    let dead_letters = world.broker.dead_letters().await?;
    let jobs = history.accepted.len();
    let (unmet, took) = (Vec::new(), began.elapsed());
    Ok(Outcome { seed, case, jobs, violations, unmet, cost, dead_letters, took })
}

/// Submits jobs while answers are lost, each until there is one.
async fn submit(world: &World, jobs: usize) -> Result<BTreeSet<JobId>> {
    let mut accepted = BTreeSet::new();
    for number in 0..jobs {
        let spec = spec(&world.sky, number);
        world.sky.change(|weather| weather.lost_answers = 10);
        let job = loop {
            let coordinator = world.coordinator().context("no coordinator runs")?;
            match coordinator.service.users().submit(spec.clone()).await {
                Ok(job) => break job.context("a submission without a job")?,
                Err(DriverError::State(error)) if error.is_retryable() => {}
                Err(error) => return Err(error.into()),
            }
        };
        accepted.insert(job.id);
    }
    Ok(accepted)
}

/// A user cancels any job; it may be too late for that.
async fn cancel_one(world: &World, accepted: &BTreeSet<JobId>) {
    let jobs: Vec<_> = accepted.iter().collect();
    if let (Some(job), Some(coordinator)) = (world.sky.one_of(&jobs), world.coordinator()) {
        // Refused when the job is over; lost when the store is away: then the user gives up.
        let cancelled = coordinator.service.users().driver().apply(job, Event::CancelRequested).await;
        if cancelled.is_ok() && world.sky.strikes(70) {
            world.sky.pass(0, 3000).await;
            drop(coordinator.service.users().driver().apply(job, Event::RetryRequested { from: None }).await);
        }
    }
}

/// Waits until queues and tables are empty, but not for ever.
async fn settle(world: &World) -> Result<Rest> {
    let give_up = Instant::now() + Duration::from_mins(5);
    loop {
        let far = Timestamp(i64::MAX);
        let rest = Rest {
            tasks: world.broker.tasks(),
            outbox: world.state.outbox(far, usize::MAX).await?.len(),
            deadlines: world.state.due(far, usize::MAX).await?.len(),
        };
        if rest == Rest::default() || Instant::now() > give_up {
            return Ok(rest);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
