//! The cases of the trials with real processes.

use std::fmt;

use super::servers::Lane;

/// What a trial is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RealCase {
    /// T1: a worker is killed at a labelled point, and others at any moment.
    KilledWorkers,
    /// T2: a coordinator is killed at a labelled point, and others at any moment.
    KilledCoordinators,
    /// T3: RabbitMQ is killed.
    KilledBroker,
    /// T4: Redis is killed; it syncs its log every second.
    KilledStateEverySecond,
    /// T4: Redis is killed; it syncs its log always.
    KilledStateAlways,
    /// T4: Redis is emptied.
    EmptiedState,
    /// T5: tasks are doubled, out of order and stale; reports are repeated late.
    UnrulyMessages,
    /// T6: a worker is cut off from the coordinator.
    CutOffWorkers,
    /// T6: the coordinator is cut off from Redis.
    CutOffState,
    /// T6: all are cut off from RabbitMQ.
    CutOffBroker,
    /// T7: a worker stands still for longer than its lease.
    StoppedWorkers,
    /// T8: wall clocks jump by an hour.
    JumpingClocks,
    /// T9: attempts panic, kill their process, or hang.
    Poison,
    /// T10: RabbitMQ raises an alarm, or queues are deleted.
    BrokerAlarm,
    /// T11: every process is replaced, one after another.
    RollingRestart,
    /// T12: calls of Redis and RabbitMQ are carried out and not answered.
    UnansweredCalls,
    /// T13: workers drain.
    Drains,
}

impl RealCase {
    /// All cases; a trial's case follows from its seed.
    pub const ALL: [Self; 17] = [
        Self::KilledWorkers,
        Self::KilledCoordinators,
        Self::KilledBroker,
        Self::KilledStateEverySecond,
        Self::KilledStateAlways,
        Self::EmptiedState,
        Self::UnrulyMessages,
        Self::CutOffWorkers,
        Self::CutOffState,
        Self::CutOffBroker,
        Self::StoppedWorkers,
        Self::JumpingClocks,
        Self::Poison,
        Self::BrokerAlarm,
        Self::RollingRestart,
        Self::UnansweredCalls,
        Self::Drains,
    ];

    /// The case of a seed.
    pub fn of(seed: u64) -> Self {
        let number = usize::try_from(seed % Self::ALL.len() as u64).unwrap_or_default();
        Self::ALL.get(number).copied().unwrap_or(Self::KilledWorkers)
    }

    /// Counts the trials of a case, so that one of a few choices is taken by turns.
    pub(super) fn turn(seed: u64) -> usize {
        usize::try_from(seed / Self::ALL.len() as u64).unwrap_or_default()
    }

    /// Which servers the trial needs.
    pub(super) fn lane(self) -> Lane {
        match self {
            Self::KilledBroker | Self::BrokerAlarm => Lane::Broker,
            Self::KilledStateEverySecond | Self::EmptiedState => Lane::RedisEverySecond,
            Self::KilledStateAlways => Lane::RedisAlways,
            Self::KilledWorkers
            | Self::KilledCoordinators
            | Self::UnrulyMessages
            | Self::CutOffWorkers
            | Self::CutOffState
            | Self::CutOffBroker
            | Self::StoppedWorkers
            | Self::JumpingClocks
            | Self::Poison
            | Self::RollingRestart
            | Self::UnansweredCalls
            | Self::Drains => Lane::Shared,
        }
    }
}

impl fmt::Display for RealCase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::KilledWorkers => "T1 killed workers",
            Self::KilledCoordinators => "T2 killed coordinators",
            Self::KilledBroker => "T3 killed RabbitMQ",
            Self::KilledStateEverySecond => "T4 killed Redis, synced every second",
            Self::KilledStateAlways => "T4 killed Redis, synced always",
            Self::EmptiedState => "T4 emptied Redis",
            Self::UnrulyMessages => "T5 doubled, late and stale tasks and reports",
            Self::CutOffWorkers => "T6 worker cut off from the coordinator",
            Self::CutOffState => "T6 coordinator cut off from Redis",
            Self::CutOffBroker => "T6 all cut off from RabbitMQ",
            Self::StoppedWorkers => "T7 workers stopped for two leases",
            Self::JumpingClocks => "T8 wall clocks that jump by an hour",
            Self::Poison => "T9 attempts that panic, kill and hang",
            Self::BrokerAlarm => "T10 alarm of RabbitMQ, deleted queues",
            Self::RollingRestart => "T11 rolling restart",
            Self::UnansweredCalls => "T12 unanswered calls",
            Self::Drains => "T13 drained workers",
        })
    }
}
