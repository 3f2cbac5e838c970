//! The broker port: tickets that ask a worker for one attempt, delivered at least once.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use clara_lifecycle::{
    id::{Attempt, ClassName, JobId},
    resources::{PriorityBand, needs_class},
    stage::Stage,
};
use serde::{Deserialize, Serialize};

pub mod amqp;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod sqlite;

/// The broker message that asks for one attempt of one stage.
///
/// It is a ticket only: whether the attempt is still wanted says the state store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Task {
    /// The job.
    pub job: JobId,
    /// The stage.
    pub stage: Stage,
    /// The attempt.
    pub attempt: Attempt,
    /// 0 (lowest) to 9.
    pub priority: u8,
    /// The resource class that the job asks for.
    #[serde(default)]
    pub class: ClassName,
}

/// Names one queue: a stage, a resource class and a band of priorities.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName {
    /// The stage.
    pub stage: Stage,
    /// The resource class; the default one for stages that any worker can carry out.
    pub class: ClassName,
    /// The band.
    pub band: PriorityBand,
}

impl QueueName {
    /// The queue that a task goes to.
    pub fn of(task: &Task) -> Self {
        let class = if needs_class(task.stage) { task.class.clone() } else { ClassName::default() };
        Self { stage: task.stage, class, band: PriorityBand::of(task.priority) }
    }

    /// The queues of a stage for workers that serve `classes`, the most urgent band first.
    pub fn served(stage: Stage, classes: &[ClassName]) -> Vec<Self> {
        let default_class = [ClassName::default()];
        let classes = if needs_class(stage) { classes } else { &default_class };
        let of_band = |band| classes.iter().map(move |class| Self { stage, class: class.clone(), band });
        PriorityBand::ALL.into_iter().flat_map(of_band).collect()
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "clara.{}.{}.{}", self.stage, self.class, self.band)
    }
}

/// One delivered task; unless acknowledged it is delivered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The task.
    pub task: Task,
    /// Names this delivery to the broker.
    pub tag: String,
    /// Whether the task was delivered before.
    pub redelivered: bool,
}

/// Length of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    /// Tasks waiting for a worker.
    pub ready: u64,
    /// Tasks delivered and not yet acknowledged.
    pub unacknowledged: u64,
}

/// Why the broker could not be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// It could not be reached, or the answer did not come; the effect is unknown.
    #[error("the broker at {broker} could not be reached: {reason}; check that it runs")]
    Unavailable {
        /// Which broker.
        broker: String,
        /// What failed.
        reason: String,
    },
    /// It does not let this process in, or is set up otherwise than expected.
    #[error("the broker at {broker} cannot be used: {reason}")]
    Refused {
        /// Which broker.
        broker: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A stored message cannot be read.
    #[error("queue {queue} holds a message that is not a task: {reason}")]
    Malformed {
        /// The queue.
        queue: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl BrokerError {
    /// Whether the same call may succeed when repeated.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Refused { .. } | Self::Malformed { .. } => false,
        }
    }
}

/// Delivers tasks at least once: a task is never lost, may come twice, and may come out of order.
#[async_trait]
pub trait Broker: Send + Sync + fmt::Debug {
    /// Hands a task over; on return it is stored durably.
    async fn publish(&self, task: &Task) -> Result<(), BrokerError>;

    /// Waits at most `wait` for one task of any of the queues. The delivery belongs to the caller until it is
    /// acknowledged or released, at least for the time of a claim (30 s), then it may be delivered again.
    /// Higher bands come first. Cancellation safe: a task that nobody received is delivered again.
    ///
    /// A receiver that acknowledged a task takes the next one when it receives again, not before.
    async fn receive(&self, queues: &[QueueName], wait: Duration) -> Result<Option<Delivery>, BrokerError>;

    /// Removes a delivered task. Answers whether the delivery was still the caller's, as far as is known.
    async fn acknowledge(&self, delivery: &Delivery) -> Result<bool, BrokerError>;

    /// Gives a delivered task back at once.
    async fn release(&self, delivery: &Delivery) -> Result<(), BrokerError>;

    /// Length of a queue; 0 for one that nobody used yet.
    async fn depth(&self, queue: &QueueName) -> Result<QueueDepth, BrokerError>;

    /// How many messages were set aside because nobody could read or take them.
    async fn dead_letters(&self) -> Result<u64, BrokerError>;

    /// Why it takes no tasks for now although it answers.
    fn blocked(&self) -> Option<BrokerError> {
        None
    }
}
