//! What happens in trials that break no server. Each strike submits its jobs and answers what its case promised in vain.

use std::{os::unix::process::ExitStatusExt as _, time::Duration};

use anyhow::{Context, Result, ensure};
use clara_lifecycle::{
    id::Attempt,
    job::{Job, JobState, StageState},
    stage::Stage,
};
use clara_runtime::broker::{Broker as _, Task};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::{
    LEASE,
    cluster::{Cluster, END_WITHIN},
};
use crate::{
    Direction,
    faults::drill::{Action, Point, Snare},
};

/// How long a moment of a trial may need to come.
pub(super) const MOMENT_WITHIN: Duration = Duration::from_mins(1);
/// How far clocks jump.
const JUMP_SECONDS: i64 = 3600;

fn trap(action: Action, point: Point, stage: Option<Stage>) -> Vec<String> {
    vec!["--trap".to_owned(), Snare { action, point, stage }.to_string()]
}

/// A point of a worker by turns, and any stage that has it.
fn point_of_worker(cluster: &Cluster, turn: usize) -> (Point, Stage) {
    let point = Point::OF_WORKER.get(turn % Point::OF_WORKER.len()).copied().unwrap_or(Point::Acked);
    let stages = [Stage::Ingest, Stage::Train, Stage::Generate, Stage::Judge];
    let stage = match point {
        Point::CheckpointHalfWritten => Stage::Train,
        _ => cluster.sky.one_of(&stages).copied().unwrap_or(Stage::Train),
    };
    (point, stage)
}

pub(super) async fn kill_workers(cluster: &mut Cluster, turn: usize) -> Result<()> {
    let (point, stage) = point_of_worker(cluster, turn);
    cluster.start_coordinators()?;
    cluster.start_worker(&trap(Action::Kill, point, Some(stage)))?;
    cluster.submit().await?;
    dies_by_its_trap(cluster).await?;
    cluster.sky.pass(0, 1000).await;
    cluster.restaff()?;
    for _ in 0..cluster.sky.below(3) {
        cluster.sky.pass(0, 1500).await;
        cluster.kill_a_worker()?;
        cluster.sky.pass(0, 800).await;
        cluster.restaff()?;
    }
    Ok(())
}

async fn dies_by_its_trap(cluster: &mut Cluster) -> Result<()> {
    let worker = cluster.workers.first_mut().context("there is no worker")?;
    let status = worker.end(MOMENT_WITHIN).await?;
    ensure!(status.signal() == Some(Signal::KILL.as_raw()), "{} ended with {status}", worker.name);
    Ok(())
}

pub(super) async fn stop_workers(cluster: &mut Cluster, turn: usize) -> Result<Vec<String>> {
    let (point, stage) = point_of_worker(cluster, turn);
    cluster.start_coordinators()?;
    cluster.start_worker(&trap(Action::Stop, point, Some(stage)))?;
    cluster.submit().await?;
    let stopped = cluster.workers.first().context("there is no worker")?;
    stopped.stopped(MOMENT_WITHIN).await?;
    cluster.interrupted(stopped);
    cluster.start_worker(&[])?;
    sleep(2 * LEASE).await;
    cluster.sky.pass(0, 1000).await;
    let stopped = cluster.workers.first().context("there is no worker")?;
    stopped.signal(Signal::CONT)?;
    // Without a claim there is nothing to be fenced off, and a result that was sent may be accepted.
    if matches!(point, Point::Received | Point::ResultSent) {
        return Ok(Vec::new());
    }
    let give_up = Instant::now() + END_WITHIN;
    while Instant::now() < give_up {
        if stopped.log()?.contains(": Fenced") {
            return Ok(Vec::new());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(vec![format!("{} was stopped at {point:?} of {stage} and did not fence itself", stopped.name)])
}

pub(super) async fn kill_coordinators(cluster: &mut Cluster, turn: usize) -> Result<()> {
    let point = Point::OF_COORDINATOR.get(turn % Point::OF_COORDINATOR.len()).copied();
    let trap = trap(Action::Kill, point.unwrap_or(Point::Published), None);
    cluster.start_coordinator(0, &trap)?;
    let is_alone = cluster.sky.strikes(50);
    if !is_alone {
        cluster.start_coordinator(1, &[])?;
    }
    // One of them talks to each coordinator.
    cluster.start_worker(&[])?;
    cluster.start_worker(&[])?;
    cluster.submit().await?;
    // While the other one does all of the work, nothing leads the trapped one to its point.
    let give_up = Instant::now() + Duration::from_secs(20);
    while cluster.coordinator(0)?.is_some() && Instant::now() < give_up {
        sleep(Duration::from_millis(20)).await;
    }
    ensure!(!is_alone || cluster.coordinator(0)?.is_none(), "the trap at {point:?} was not reached");
    cluster.sky.pass(0, 1500).await;
    cluster.start_coordinators()?;
    for _ in 0..cluster.sky.below(3) {
        cluster.sky.pass(0, 1500).await;
        let number = cluster.sky.below(cluster.plan.coordinators);
        if let Some(coordinator) = cluster.coordinator(number)? {
            coordinator.kill()?;
        }
        cluster.sky.pass(0, 1500).await;
        cluster.start_coordinators()?;
    }
    Ok(())
}

/// Publishes tasks of old attempts, and of new ones again, while everything else repeats itself.
pub(super) async fn mislead(cluster: &mut Cluster) -> Result<()> {
    start(cluster).await?;
    for _ in 0..20 {
        cluster.sky.pass(0, 300).await;
        let jobs: Vec<_> = cluster.accepted.iter().cloned().collect();
        let id = cluster.sky.one_of(&jobs).context("there are no jobs")?;
        let job = cluster.users.job(id).await?;
        let stage = cluster.sky.one_of(&Stage::ALL).copied().unwrap_or(Stage::Train);
        let newest = usize::try_from(job.stages.get(stage).attempt.0)?;
        let attempt = Attempt(u32::try_from(cluster.sky.below(newest + 1))?.max(1));
        let (priority, class) = (job.spec.priority, job.spec.resource_class.clone());
        let task = Task { job: id.clone(), stage, attempt, priority, class };
        match cluster.broker.publish(&task).await {
            Err(error) if !error.is_retryable() => return Err(error.into()),
            // One that RabbitMQ does not take misleads nobody.
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Breaks the way that leads through the proxy, for less or for more than a lease.
pub(super) async fn cut_off(cluster: &mut Cluster, turn: usize) -> Result<()> {
    start(cluster).await?;
    for _ in 0..=cluster.sky.below(2) {
        cluster.sky.pass(0, 2500).await;
        let proxy = cluster.proxy.as_ref().context("there is no proxy")?;
        if let Some(worker) = cluster.workers.first() {
            cluster.interrupted(worker);
        }
        let late = Duration::from_secs(5);
        match turn % 6 {
            0 => proxy.cut().await,
            1 => proxy.silence(Direction::ToTarget),
            2 => proxy.silence(Direction::ToClient),
            3 => proxy.partition(),
            4 => {
                proxy.delay(Direction::ToTarget, late);
                proxy.delay(Direction::ToClient, late);
            }
            _ => proxy.hang_up().await,
        }
        let (least, most) = if cluster.sky.strikes(50) { (0.2, 0.8) } else { (1.5, 3.0) };
        sleep(cluster.sky.between(LEASE.mul_f64(least), LEASE.mul_f64(most))).await;
        proxy.heal()?;
    }
    Ok(())
}

/// Sets the wall clocks of all processes an hour ahead, back, or right again.
pub(super) async fn jump(cluster: &mut Cluster) -> Result<()> {
    start(cluster).await?;
    cluster.sky.pass(0, 500).await;
    cluster.set_clocks(if cluster.sky.strikes(50) { JUMP_SECONDS } else { -JUMP_SECONDS })?;
    for _ in 0..2 {
        cluster.sky.pass(0, 1500).await;
        let to = cluster.sky.one_of(&[-JUMP_SECONDS, 0, JUMP_SECONDS]).copied().unwrap_or_default();
        cluster.set_clocks(to)?;
    }
    Ok(())
}

/// A job fails whatever is tried; the others go on.
pub(super) async fn poison(cluster: &mut Cluster) -> Result<Vec<String>> {
    start(cluster).await?;
    let give_up = Instant::now() + Duration::from_secs(90);
    let is_stuck = |job: &Job| {
        job.spec.labels.contains_key("poison") && matches!(job.state, JobState::Stuck { stage: Stage::Train })
    };
    loop {
        if let Ok(job) = cluster.until(Duration::ZERO, is_stuck).await {
            let (failures, allowed) = (job.stages.get(Stage::Train).failures, job.spec.retry.max_attempts);
            let wrong = (failures != allowed)
                .then(|| format!("a poisoned training was tried {failures} times; {allowed} are allowed"));
            return Ok(wrong.into_iter().collect());
        }
        if Instant::now() > give_up {
            return Ok(vec!["a poisoned training was tried again and again".to_owned()]);
        }
        cluster.restaff()?;
        sleep(Duration::from_millis(100)).await;
    }
}

/// Every process makes way for a new one.
pub(super) async fn roll(cluster: &mut Cluster) -> Result<Vec<String>> {
    start(cluster).await?;
    let mut wrong = Vec::new();
    for number in 0..2 {
        cluster.sky.pass(0, 1000).await;
        cluster.start_worker(&[])?;
        let mut old = cluster.workers.remove(0);
        cluster.interrupted(&old);
        old.terminate().await?;
        wrong.extend(ended_well(old.end(END_WITHIN).await, "a worker"));
        cluster.sky.pass(0, 1000).await;
        if let Some(coordinator) = cluster.coordinator(number)? {
            coordinator.terminate().await?;
            wrong.extend(ended_well(coordinator.end(END_WITHIN).await, "a coordinator"));
        }
        cluster.start_coordinators()?;
    }
    Ok(wrong)
}

/// The only worker is told to end in the middle of a training.
pub(super) async fn drain(cluster: &mut Cluster) -> Result<Vec<String>> {
    cluster.start_coordinators()?;
    cluster.start_worker(&[])?;
    cluster.submit().await?;
    let step = 1 + cluster.sky.below(18) as u64;
    cluster.until(MOMENT_WITHIN, |job| training_step(job).is_some_and(|done| done >= step)).await?;
    cluster.sky.pass(0, 100).await;
    let mut worker = cluster.workers.remove(0);
    cluster.interrupted(&worker);
    worker.terminate().await?;
    Ok(ended_well(worker.end(END_WITHIN).await, "a worker"))
}

/// Starts everything and submits the jobs.
pub(super) async fn start(cluster: &mut Cluster) -> Result<()> {
    cluster.start_coordinators()?;
    cluster.restaff()?;
    cluster.submit().await
}

/// How far a training is that runs.
pub(super) fn training_step(job: &Job) -> Option<u64> {
    match &job.stages.get(Stage::Train).state {
        StageState::Leased(lease) => Some(lease.progress.done),
        StageState::Waiting
        | StageState::Queued { .. }
        | StageState::Succeeded { .. }
        | StageState::Failed
        | StageState::Cancelled => None,
    }
}

fn ended_well(ended: Result<std::process::ExitStatus>, who: &str) -> Vec<String> {
    match ended {
        Ok(status) if status.success() => Vec::new(),
        Ok(status) => vec![format!("{who} that was told to end ended with {status}")],
        Err(error) => vec![format!("{error:#}")],
    }
}
