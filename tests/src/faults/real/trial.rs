//! One trial with real processes: jobs, the fault of its case, calm until everything ended, and the verdict.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result};
use clara_lifecycle::{id::ClassName, stage::Stage, time::Timestamp};
use clara_runtime::broker::{Broker as _, QueueName};
use tokio::time::{Instant, sleep};

use super::{
    Programs, RealCase, cluster::Cluster, plan::Plan, servers::ServersOfTrial, strikes, strikes_on_servers,
};
use crate::faults::{
    Outcome,
    drill::{Note, Noted},
    invariants::{Execution, Invariant, Rest, Violation, check},
    journal::Notes,
    users::{bring_to_an_end, history},
    weather::Sky,
};

/// How long a trial may take until everything ended: a task that was lost with its queue waits for minutes.
const GIVE_UP_AFTER: Duration = Duration::from_mins(5);
/// How often users look at their jobs.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long queues and tables may take to be empty after that.
const REST_WITHIN: Duration = Duration::from_secs(30);
/// A clock that is so far ahead or behind was set.
const JUMPED: Duration = Duration::from_mins(30);

/// Runs the trial of `seed`.
pub(super) fn run(
    seed: u64,
    programs: &Programs,
    servers: &ServersOfTrial,
    scratch: &Path,
) -> Result<Outcome<RealCase>> {
    let folder = scratch.join(format!("seed-{seed}"));
    // What an earlier run left.
    drop(std::fs::remove_dir_all(&folder));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(Box::pin(trial(seed, programs, servers, &folder)));
    runtime.shutdown_background();
    match &outcome {
        Ok(outcome) if outcome.is_sound() => drop(std::fs::remove_dir_all(&folder)),
        Ok(_) | Err(_) => eprintln!("notes and logs of seed {seed} are in {}", folder.display()),
    }
    outcome
}

async fn trial(
    seed: u64,
    programs: &Programs,
    servers: &ServersOfTrial,
    folder: &Path,
) -> Result<Outcome<RealCase>> {
    let (case, turn, began) = (RealCase::of(seed), RealCase::turn(seed), Instant::now());
    let sky = Sky::new(seed);
    let plan = Plan::of(case, turn, &sky);
    let mut cluster = Cluster::new((seed, sky), plan, programs, servers, folder.to_owned()).await?;
    let mut unmet = strike(case, turn, &mut cluster).await?;
    if let Some(proxy) = &cluster.proxy {
        proxy.heal()?;
    }
    cluster.start_coordinators()?;
    cluster.restaff()?;
    let limits = (LOOK_EVERY, GIVE_UP_AFTER);
    let ended = bring_to_an_end(&cluster.users, &cluster.sky, &cluster.accepted, limits).await;
    let rest = come_to_rest(&mut cluster, &mut unmet).await?;
    let noted = cluster.notes()?;
    let mut told = replay(&noted);
    if case == RealCase::EmptiedState {
        told.keep_only(&cluster.accepted);
    }
    let history = history(&cluster.users, cluster.accepted.clone(), told.executions(), rest).await?;
    let mut violations = check(&history);
    if let Err(error) = ended
        && violations.is_empty()
    {
        violations.push(Violation { invariant: Invariant::EndsOnce, found: format!("{error:#}") });
    }
    let cost = told.cost(&history.jobs);
    unmet.extend(broken_promise(case, &noted, cost.steps_lost));
    let dead_letters = cluster.broker.dead_letters().await?;
    let mut queues: Vec<String> = Stage::ALL.into_iter().flat_map(|stage| cluster.queues_of(stage)).collect();
    queues.push(cluster.dead_letters());
    strikes_on_servers::delete(&cluster, &queues).await?;
    let (jobs, took) = (history.accepted.len(), began.elapsed());
    Ok(Outcome { seed, case, jobs, violations, unmet, cost, dead_letters, took })
}

/// Lets the fault of the case happen. Answers what the case promised in vain.
async fn strike(case: RealCase, turn: usize, cluster: &mut Cluster) -> Result<Vec<String>> {
    match case {
        RealCase::KilledWorkers => strikes::kill_workers(cluster, turn).await?,
        RealCase::KilledCoordinators => strikes::kill_coordinators(cluster, turn).await?,
        RealCase::KilledBroker => return strikes_on_servers::kill_broker(cluster, turn).await,
        RealCase::KilledStateEverySecond | RealCase::KilledStateAlways => {
            strikes_on_servers::kill_state(cluster).await?;
        }
        RealCase::EmptiedState => return strikes_on_servers::empty_state(cluster, turn).await,
        RealCase::UnrulyMessages => strikes::mislead(cluster).await?,
        RealCase::CutOffWorkers | RealCase::CutOffState | RealCase::CutOffBroker => {
            strikes::cut_off(cluster, turn).await?;
        }
        RealCase::StoppedWorkers => return strikes::stop_workers(cluster, turn).await,
        RealCase::JumpingClocks => strikes::jump(cluster).await?,
        RealCase::Poison => return strikes::poison(cluster).await,
        RealCase::BrokerAlarm => strikes_on_servers::alarm(cluster, turn).await?,
        RealCase::RollingRestart => return strikes::roll(cluster).await,
        RealCase::UnansweredCalls => strikes::start(cluster).await?,
        RealCase::Drains => return strikes::drain(cluster).await,
    }
    Ok(Vec::new())
}

/// What the notes tell against a case.
fn broken_promise(case: RealCase, noted: &[Noted], steps_lost: u64) -> Option<String> {
    match case {
        RealCase::Drains if steps_lost > 0 => Some(format!("a drain lost {steps_lost} steps")),
        RealCase::JumpingClocks if !noted.iter().any(|noted| noted.is_ahead_by(JUMPED)) => {
            Some("the wall clocks did not jump".to_owned())
        }
        _ => None,
    }
}

/// Lets queues and tables become empty, and all processes end. What a process held unacknowledged comes back at its
/// end, and somebody whom no fault keeps from it must look at it.
async fn come_to_rest(cluster: &mut Cluster, unmet: &mut Vec<String>) -> Result<Rest> {
    settle(cluster).await?;
    unmet.extend(cluster.end().await?);
    if rest(cluster).await? != Rest::default() {
        cluster.plan.worker_flags.clear();
        cluster.plan.coordinator_flags.clear();
        cluster.start_coordinators()?;
        cluster.restaff()?;
        settle(cluster).await?;
        unmet.extend(cluster.end().await?);
    }
    rest(cluster).await
}

/// Waits until queues and tables are empty, but not for ever.
async fn settle(cluster: &Cluster) -> Result<()> {
    let give_up = Instant::now() + REST_WITHIN;
    while rest(cluster).await? != Rest::default() && Instant::now() < give_up {
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn rest(cluster: &Cluster) -> Result<Rest> {
    let far = Timestamp(i64::MAX);
    let state = cluster.users.state();
    let mut tasks = 0;
    for stage in Stage::ALL {
        for queue in QueueName::served(stage, &[ClassName::default()]) {
            let depth = cluster.broker.depth(&queue).await?;
            tasks += depth.ready + depth.unacknowledged;
        }
    }
    Ok(Rest {
        tasks: usize::try_from(tasks).context("there are more tasks than can be counted")?,
        outbox: state.outbox(far, 1000).await?.len(),
        deadlines: state.due(far, 1000).await?.len(),
    })
}

/// What the processes noted, as notes of the trial.
fn replay(noted: &[Noted]) -> Notes {
    let mut told = Notes::default();
    let mut begun: BTreeMap<(&str, usize), usize> = BTreeMap::new();
    for Noted { at, process, note, .. } in noted {
        match note {
            Note::Began { number, job, stage, attempt, fence, first_step } => {
                let (job, began_at) = (job.clone(), *at);
                let execution = Execution { job, stage: *stage, attempt: *attempt, fence: *fence, began_at };
                begun.insert((process, *number), told.begin(execution, process, *first_step));
            }
            Note::Step { number, step } => {
                if let Some(number) = begun.get(&(process.as_str(), *number)) {
                    told.step(*number, *step);
                }
            }
            Note::Ended { number } => {
                if let Some(number) = begun.get(&(process.as_str(), *number)) {
                    told.end(*number);
                }
            }
            Note::Trapped { .. } => {}
            Note::Interrupted { is_over } => told.interrupt(process, *at, *is_over),
        }
    }
    told
}
