//! The cases of the fault suite: which faults strike in a trial, and how hard.

use std::{fmt, sync::atomic::Ordering, time::Duration};

use anyhow::Result;
use clara_runtime::broker::memory::MemoryBroker;

use super::{
    weather::Weather,
    world::{LEASE, World},
};

/// What a trial is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// T1: workers are killed.
    KilledWorkers,
    /// T2: coordinators are killed.
    KilledCoordinators,
    /// T3, T10: the broker is away and loses what it did not confirm.
    BrokerAway,
    /// T4: the state store is away.
    StateAway,
    /// T5: tasks are lost, doubled, late and out of order.
    UnrulyTasks,
    /// T5: requests and reports are lost, doubled, and later than the lease.
    UnrulyReports,
    /// T6: workers are cut off from all coordinators.
    Partitions,
    /// T7: workers stand still for longer than their lease.
    StoppedWorkers,
    /// T9: attempts fail, hang, and fail for good; users retry.
    BadAttempts,
    /// T9: tasks come again until the broker sets them aside.
    DeliveryLimit,
    /// T12: writes happen and their answers are lost, everywhere.
    UnansweredWrites,
    /// T13: workers drain and are replaced.
    Drains,
    /// Users cancel in the middle and retry.
    Cancels,
    /// Everything at once.
    Everything,
}

/// What happens at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strike {
    KillWorker,
    KillCoordinator,
    RestartBroker,
    LoseState,
    CutOff,
    Stop,
    Drain,
    Cancel,
}

impl Case {
    /// All cases; a trial's case follows from its seed.
    pub const ALL: [Self; 14] = [
        Self::KilledWorkers,
        Self::KilledCoordinators,
        Self::BrokerAway,
        Self::StateAway,
        Self::UnrulyTasks,
        Self::UnrulyReports,
        Self::Partitions,
        Self::StoppedWorkers,
        Self::BadAttempts,
        Self::DeliveryLimit,
        Self::UnansweredWrites,
        Self::Drains,
        Self::Cancels,
        Self::Everything,
    ];

    /// The case of a seed.
    pub fn of(seed: u64) -> Self {
        let number = usize::try_from(seed % Self::ALL.len() as u64).unwrap_or_default();
        Self::ALL.get(number).copied().unwrap_or(Self::Everything)
    }

    /// For the table.
    fn name(self) -> &'static str {
        match self {
            Self::KilledWorkers => "T1 killed workers",
            Self::KilledCoordinators => "T2 killed coordinators",
            Self::BrokerAway => "T3, T10 broker away, unconfirmed tasks lost",
            Self::StateAway => "T4 state store away",
            Self::UnrulyTasks => "T5 tasks lost, doubled, late",
            Self::UnrulyReports => "T5 reports lost, doubled, late",
            Self::Partitions => "T6 workers cut off",
            Self::StoppedWorkers => "T7 workers stopped past the lease",
            Self::BadAttempts => "T9 failing and hanging attempts",
            Self::DeliveryLimit => "T9 tasks set aside by the broker",
            Self::UnansweredWrites => "T12 unanswered writes",
            Self::Drains => "T13 drained workers",
            Self::Cancels => "cancelled and retried jobs",
            Self::Everything => "everything at once",
        }
    }

    pub(super) fn broker(self) -> MemoryBroker {
        match self {
            Self::DeliveryLimit => MemoryBroker::default().with_delivery_limit(1),
            _ => MemoryBroker::default().with_delivery_limit(20),
        }
    }

    /// Chances while the faults last.
    pub(super) fn weather(self) -> Weather {
        let calm = Weather::default();
        match self {
            Self::UnrulyTasks => Weather { lost_tasks: 10, doubled_tasks: 30, late_tasks: 30, ..calm },
            Self::UnrulyReports => {
                Weather { lost_requests: 5, lost_answers: 5, doubled_requests: 30, late_requests: 20, ..calm }
            }
            Self::BadAttempts => Weather { bad_attempts: 30, ..calm },
            Self::DeliveryLimit => Weather { doubled_tasks: 20, late_requests: 40, ..calm },
            Self::UnansweredWrites => Weather { lost_answers: 15, ..calm },
            Self::Everything => Weather {
                lost_requests: 2,
                lost_answers: 4,
                doubled_requests: 10,
                late_requests: 5,
                lost_tasks: 2,
                doubled_tasks: 10,
                late_tasks: 10,
                bad_attempts: 3,
                ..calm
            },
            Self::KilledWorkers
            | Self::KilledCoordinators
            | Self::BrokerAway
            | Self::StateAway
            | Self::Partitions
            | Self::StoppedWorkers
            | Self::Drains
            | Self::Cancels => calm,
        }
    }

    fn strikes(self) -> &'static [Strike] {
        match self {
            Self::KilledWorkers => &[Strike::KillWorker],
            Self::KilledCoordinators => &[Strike::KillCoordinator],
            Self::BrokerAway | Self::DeliveryLimit => &[Strike::RestartBroker],
            Self::StateAway => &[Strike::LoseState],
            Self::Partitions => &[Strike::CutOff],
            Self::StoppedWorkers => &[Strike::Stop],
            Self::Drains => &[Strike::Drain],
            Self::Cancels => &[Strike::Cancel, Strike::KillWorker],
            Self::UnrulyTasks | Self::UnrulyReports | Self::BadAttempts | Self::UnansweredWrites => &[],
            Self::Everything => &[
                Strike::KillWorker,
                Strike::KillCoordinator,
                Strike::RestartBroker,
                Strike::LoseState,
                Strike::CutOff,
                Strike::Stop,
                Strike::Drain,
                Strike::Cancel,
            ],
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Lets one fault of the case happen, from its beginning to its end. Answers whether a user shall cancel a job.
pub(super) async fn strike(case: Case, world: &mut World) -> Result<bool> {
    let Some(strike) = world.sky.one_of(case.strikes()).copied() else {
        world.sky.pass(1000, 5000).await;
        return Ok(false);
    };
    let number = world.victim();
    match strike {
        Strike::KillWorker => {
            world.kill_worker(number).await;
            world.sky.pass(0, 5000).await;
            world.replace_worker(number)?;
        }
        Strike::KillCoordinator => {
            let number = world.sky.below(world.coordinators.len());
            world.kill_coordinator(number).await;
            world.sky.pass(0, 8000).await;
            world.start_coordinator(number);
        }
        Strike::RestartBroker => {
            let is_short = case == Case::DeliveryLimit;
            world.sky.change(|weather| weather.no_broker = !is_short);
            world.broker.restart();
            world.sky.pass(0, if is_short { 1500 } else { 20_000 }).await;
            world.sky.change(|weather| weather.no_broker = false);
        }
        Strike::LoseState => {
            world.sky.change(|weather| weather.no_state = true);
            world.sky.pass(0, 10_000).await;
            world.sky.change(|weather| weather.no_state = false);
        }
        Strike::CutOff | Strike::Stop => interrupt(strike, world, number).await,
        Strike::Drain => {
            if let Some(worker) = world.workers.get(number) {
                world.journal.interrupt(&worker.id, false);
                worker.shutdown.cancel();
            }
            world.sky.pass(0, 12_000).await;
            // Whatever was not saved by then is killed, as by a service manager.
            world.kill_worker(number).await;
            world.replace_worker(number)?;
        }
        Strike::Cancel => return Ok(true),
    }
    Ok(false)
}

async fn interrupt(strike: Strike, world: &World, number: usize) {
    let Some(worker) = world.workers.get(number) else { return };
    world.journal.interrupt(&worker.id, false);
    let stands_still = strike == Strike::Stop;
    if stands_still {
        worker.node.stop();
    } else {
        worker.is_cut.store(true, Ordering::Relaxed);
    }
    tokio::time::sleep(world.sky.between(Duration::from_secs(1), LEASE * 3)).await;
    worker.node.go_on();
    worker.is_cut.store(false, Ordering::Relaxed);
}
