//! How the processes of a trial are set up, as its case wants it.

use std::time::Duration;

use super::{LEASE, RealCase};
use crate::faults::{handler::PROGRESS_WITHIN, weather::Sky};

/// The way that leads through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Through {
    /// From the first worker to the coordinator.
    Coordinator,
    /// From the coordinator to Redis.
    State,
    /// From everybody to RabbitMQ.
    Broker,
}

/// What a trial is made of.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) coordinators: usize,
    pub(super) jobs: usize,
    /// Steps of a training; the usual number without one.
    pub(super) steps: Option<u64>,
    /// How the first job's trainings fail.
    pub(super) poison: Option<&'static str>,
    pub(super) through: Option<Through>,
    pub(super) worker_flags: Vec<String>,
    pub(super) coordinator_flags: Vec<String>,
    pub(super) lease: Duration,
    pub(super) progress_deadline: Duration,
    /// Whether the wall clocks of the processes can be set.
    pub(super) own_clocks: bool,
}

impl Plan {
    /// The plan of a case's trial with this number.
    pub(super) fn of(case: RealCase, turn: usize, sky: &Sky) -> Self {
        let usual = Self {
            coordinators: 1,
            jobs: 1 + sky.below(3),
            steps: None,
            poison: None,
            through: None,
            worker_flags: Vec::new(),
            coordinator_flags: Vec::new(),
            lease: LEASE,
            progress_deadline: PROGRESS_WITHIN,
            own_clocks: false,
        };
        let share = |flag: &str, percent: usize| vec![flag.to_owned(), percent.to_string()];
        match case {
            RealCase::KilledCoordinators | RealCase::RollingRestart => Self { coordinators: 2, ..usual },
            // A lease so long that nothing but RabbitMQ could disturb the training.
            RealCase::KilledBroker if turn.is_multiple_of(3) => {
                Self { jobs: 1, steps: Some(500), lease: 5 * LEASE, ..usual }
            }
            RealCase::UnrulyMessages => Self {
                coordinator_flags: share("--doubled", 50),
                worker_flags: [share("--reordered", 50), share("--echoed", 40)].concat(),
                ..usual
            },
            RealCase::CutOffWorkers => Self { through: Some(Through::Coordinator), ..usual },
            RealCase::CutOffState => Self { through: Some(Through::State), ..usual },
            RealCase::CutOffBroker => Self { through: Some(Through::Broker), ..usual },
            RealCase::JumpingClocks => Self { own_clocks: true, ..usual },
            RealCase::Poison => Self {
                jobs: 2,
                poison: ["panic", "kill", "hang"].get(turn % 3).copied(),
                progress_deadline: Duration::from_secs(4),
                ..usual
            },
            RealCase::UnansweredCalls => Self { coordinator_flags: share("--unanswered", 20), ..usual },
            RealCase::KilledWorkers
            | RealCase::KilledBroker
            | RealCase::KilledStateEverySecond
            | RealCase::KilledStateAlways
            | RealCase::EmptiedState
            | RealCase::StoppedWorkers
            | RealCase::BrokerAlarm
            | RealCase::Drains => usual,
        }
    }
}
