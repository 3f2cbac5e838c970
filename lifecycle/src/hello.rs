//! What a worker and a coordinator tell each other before the first claim: who they are and what they speak.

use std::fmt;

use crate::{
    id::{ClassName, WorkerId},
    resources::Resources,
    stage::Stage,
};

/// Versions of the protocol between workers and coordinators that a program speaks, from the oldest to the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolRange {
    /// The oldest version, at least 1.
    pub oldest: u32,
    /// The newest version, at least the oldest.
    pub newest: u32,
}

/// What a worker tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Its id, fresh per start.
    pub worker: WorkerId,
    /// The stage that it carries out.
    pub stage: Stage,
    /// What it speaks.
    pub protocol: ProtocolRange,
    /// The version of its program.
    pub build: String,
    /// Attempts that it carries out at the same time.
    pub slots: u32,
    /// What it has for each of them.
    pub resources: Resources,
    /// It serves only these resource classes; empty for all that its resources serve.
    pub classes: Vec<ClassName>,
}

/// What a coordinator answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The version of its program.
    pub build: String,
    /// What it speaks.
    pub protocol: ProtocolRange,
    /// The resource classes that the worker serves.
    pub classes: Vec<ClassName>,
}

/// A worker and a coordinator that cannot work together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "worker {worker} is Clara {build} and speaks {protocol}, the coordinator is Clara {coordinator_build} and speaks \
     {coordinator_protocol}: they share none; upgrade the {older}"
)]
pub struct NoCommonProtocol {
    /// The worker.
    pub worker: WorkerId,
    /// The version of its program.
    pub build: String,
    /// What it speaks.
    pub protocol: ProtocolRange,
    /// The version of the coordinator's program.
    pub coordinator_build: String,
    /// What that speaks.
    pub coordinator_protocol: ProtocolRange,
    /// Which of the two is older.
    pub older: &'static str,
}

impl ProtocolRange {
    /// What this program speaks. Workers greet since version 2.
    pub const OURS: Self = Self { oldest: 1, newest: 2 };

    /// What a program speaks that knows no greeting.
    pub const BEFORE_HELLO: Self = Self { oldest: 1, newest: 1 };

    /// The newest version that both speak.
    pub fn newest_common(self, other: Self) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

impl fmt::Display for ProtocolRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { oldest, newest } = self;
        if oldest == newest {
            write!(formatter, "protocol {newest}")
        } else {
            write!(formatter, "protocols {oldest} to {newest}")
        }
    }
}

impl Welcome {
    /// What a coordinator that knows no greeting would answer.
    pub fn before_hello() -> Self {
        Self {
            build: "of an earlier release".to_owned(),
            protocol: ProtocolRange::BEFORE_HELLO,
            classes: vec![ClassName::default()],
        }
    }
}

impl Hello {
    /// The protocol version that this worker and the coordinator that answered speak with each other.
    ///
    /// # Errors
    /// [`NoCommonProtocol`] names both and says which one to upgrade.
    pub fn agreed(&self, welcome: &Welcome) -> Result<u32, NoCommonProtocol> {
        self.protocol.newest_common(welcome.protocol).ok_or_else(|| NoCommonProtocol {
            worker: self.worker.clone(),
            build: self.build.clone(),
            protocol: self.protocol,
            coordinator_build: welcome.build.clone(),
            coordinator_protocol: welcome.protocol,
            older: if self.protocol.newest < welcome.protocol.newest { "worker" } else { "coordinator" },
        })
    }
}

#[cfg(test)]
mod tests;
