//! One trial: jobs, faults for a while, calm until everything ended, and the verdict.

use std::{collections::BTreeSet, fmt, path::Path, time::Duration};

use anyhow::{Context, Result};
use clara_coordinator::DriverError;
use clara_lifecycle::{
    golden::{GoldenDataset, GoldenSample},
    id::JobId,
    job::{Event, JobState, Verdict},
    samples,
    spec::JobSpec,
    stage::Stage,
    time::Timestamp,
};
use clara_runtime::{broker::Broker, state::StateStore};
use tokio::time::Instant;

use super::{
    case::{Case, strike},
    invariants::{History, Invariant, JobHistory, Rest, Violation, check},
    journal::Cost,
    world::World,
};

/// How long a trial may take until everything ended; tasks that are lost again and again wait for hours.
const GIVE_UP_AFTER: Duration = Duration::from_hours(8);

/// How a trial went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Everything in the trial follows from it.
    pub seed: u64,
    /// What the trial was about.
    pub case: Case,
    /// Jobs that were accepted.
    pub jobs: usize,
    /// Invariants that do not hold.
    pub violations: Vec<Violation>,
    /// What the faults cost.
    pub cost: Cost,
    /// Tasks that the broker set aside because they came too often.
    pub dead_letters: u64,
    /// How long it took in the simulation.
    pub simulated: Duration,
}

impl Outcome {
    /// Accepted jobs that did not end, or ended more than once.
    pub fn lost(&self) -> usize {
        self.violations.iter().filter(|found| found.invariant == Invariant::EndsOnce).count()
    }

    /// Results that were committed twice, or by an attempt that had lost its lease.
    pub fn double_commits(&self) -> usize {
        let counts =
            |found: &&Violation| matches!(found.invariant, Invariant::OneResult | Invariant::NewestFence);
        self.violations.iter().filter(counts).count()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, case, violations, .. } = self;
        write!(formatter, "seed {seed} ({}): {} violations", case.name(), violations.len())?;
        for found in violations {
            write!(formatter, "\n  {found}")?;
        }
        write!(formatter, "\n  repeat: CLARA_FAULT_SEED={seed} CLARA_FAULT_TRIALS=1 make faults")
    }
}

/// Runs the trial of `seed`; scratch folders are made in `scratch`.
///
/// # Errors
/// When the trial itself cannot be carried out.
pub fn run(seed: u64, scratch: &Path) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(Box::pin(trial(seed, scratch)))
}

async fn trial(seed: u64, scratch: &Path) -> Result<Outcome> {
    let case = Case::of(seed);
    let began = Instant::now();
    let coordinators = 1 + usize::try_from(seed / 14 % 3)?;
    let mut world = World::start(seed, coordinators, case.broker(), scratch.to_owned())?;
    freeze_golden(&world).await?;
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
    world.sky.change(|weather| *weather = super::weather::Weather::default());
    let ended = bring_to_an_end(&world, &accepted, began + GIVE_UP_AFTER).await;
    let rest = settle(&world).await?;
    let history = history(&world, accepted, rest).await?;
    let mut violations = check(&history);
    if let Err(error) = ended
        && violations.is_empty()
    {
        violations.push(Violation { invariant: Invariant::EndsOnce, found: format!("{error:#}") });
    }
    let cost = world.journal.cost(&history.jobs);
    let dead_letters = world.broker.dead_letters().await?;
    let jobs = history.accepted.len();
    let simulated = began.elapsed();
    Ok(Outcome { seed, case, jobs, violations, cost, dead_letters, simulated })
}

async fn freeze_golden(world: &World) -> Result<()> {
    let (id, domain) = ("law-golden".parse()?, "law".parse()?);
    let mut dataset = GoldenDataset::new(id, domain, "anna".to_owned(), "2026-01-01T00:00:00Z".to_owned());
    dataset.version = "1.0.0".parse()?;
    let (question, answer) = ("Was regelt § 35 BauGB?".to_owned(), "Das Bauen im Außenbereich.".to_owned());
    dataset.add(GoldenSample::new(question, answer));
    let coordinator = world.coordinator().context("no coordinator runs")?;
    Ok(coordinator.service.freeze(dataset, &world.artifacts).await?)
}

fn spec(world: &World, number: usize) -> JobSpec {
    let decision = world.sky.one_of(&["approve", "review", "reject"]).copied().unwrap_or_default();
    let tenant = world.sky.one_of(&["a", "b"]).copied().unwrap_or_default();
    let mut spec = samples::spec();
    spec.idempotency_key = Some(format!("order-{number}"));
    spec.labels = [("decision", decision), ("tenant", tenant)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    spec.priority = u8::try_from(world.sky.below(10)).unwrap_or(5);
    spec
}

/// Submits jobs while answers are lost, each until there is one.
async fn submit(world: &World, jobs: usize) -> Result<BTreeSet<JobId>> {
    let mut accepted = BTreeSet::new();
    for number in 0..jobs {
        let spec = spec(world, number);
        world.sky.change(|weather| weather.lost_answers = 10);
        let job = loop {
            let coordinator = world.coordinator().context("no coordinator runs")?;
            match coordinator.service.submit(spec.clone()).await {
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
        let cancelled = coordinator.service.driver().apply(job, Event::CancelRequested).await;
        if cancelled.is_ok() && world.sky.strikes(70) {
            world.sky.pass(0, 3000).await;
            drop(coordinator.service.driver().apply(job, Event::RetryRequested { from: None }).await);
        }
    }
}

/// Waits until every job ended, and does what users do with those that wait for them.
async fn bring_to_an_end(world: &World, accepted: &BTreeSet<JobId>, give_up: Instant) -> Result<()> {
    let mut retried = BTreeSet::new();
    loop {
        let coordinator = world.coordinator().context("no coordinator runs")?;
        let driver = coordinator.service.driver();
        let mut open = 0;
        for id in accepted {
            let (job, _) = coordinator.service.job_and_events(id).await?;
            let event = match job.state {
                JobState::Stuck { .. } => Event::RetryRequested { from: None },
                JobState::InReview => Event::Reviewed {
                    verdict: Verdict::Approve,
                    actor: "anna".to_owned(),
                    reason: "looked at it".to_owned(),
                },
                JobState::Finished { .. }
                    if job.decision() != Some(clara_lifecycle::gate::Decision::Approve)
                        && world.sky.strikes(20)
                        && retried.insert(id) =>
                {
                    Event::RetryRequested { from: Some(Stage::Judge) }
                }
                JobState::Waiting { .. } | JobState::Active { .. } => {
                    open += 1;
                    continue;
                }
                JobState::Finished { .. } | JobState::Cancelled => continue,
            };
            open += 1;
            // Refused for a job that was approved by hand.
            drop(driver.apply(id, event).await);
        }
        if open == 0 {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < give_up, "{open} jobs did not end within {GIVE_UP_AFTER:?}");
        tokio::time::sleep(Duration::from_secs(2)).await;
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

async fn history(world: &World, accepted: BTreeSet<JobId>, rest: Rest) -> Result<History> {
    let coordinator = world.coordinator().context("no coordinator runs")?;
    let stored = world.state.list("job", None, usize::MAX).await?;
    let mut jobs = Vec::new();
    for record in stored {
        let (job, events) = coordinator.service.job_and_events(&record.id.parse()?).await?;
        jobs.push(JobHistory { job, events });
    }
    Ok(History { accepted, jobs, executions: world.journal.executions(), rest })
}
