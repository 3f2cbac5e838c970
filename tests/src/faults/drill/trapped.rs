//! The ports of a process with traps at the points that lie between their calls.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use clara_lifecycle::{
    attempt::Progress,
    hello::{Hello, Welcome},
    log::LogLine,
    results::StageResult,
    time::Timestamp,
};
use clara_runtime::{
    broker::{Broker, BrokerError, Delivery, QueueDepth, QueueName, Task},
    coordinator_client::{
        Claim, ClaimAnswer, ClaimedAttempt, Coordinator, CoordinatorError, Directive, ReportOutcome,
    },
    state::{Commit, OutboxEntry, Page, Record, RecordKey, StateError, StateStore, StoredEvent},
};
use tokio::sync::broadcast;

use super::{Point, trap::Trap};

/// A broker.
#[derive(Debug)]
pub(super) struct TrappedBroker {
    pub(super) inner: Arc<dyn Broker>,
    pub(super) trap: Trap,
}

#[async_trait]
impl Broker for TrappedBroker {
    async fn publish(&self, task: &Task) -> Result<(), BrokerError> {
        let publishing = self.inner.publish(task);
        let published = self.trap.during(Point::Publishing, task.stage, publishing).await;
        if published.is_ok() {
            self.trap.reach(Point::Published, task.stage).await;
        }
        published
    }

    async fn receive(&self, queues: &[QueueName], wait: Duration) -> Result<Option<Delivery>, BrokerError> {
        let delivery = self.inner.receive(queues, wait).await?;
        if let Some(delivery) = &delivery {
            self.trap.reach(Point::Received, delivery.task.stage).await;
        }
        Ok(delivery)
    }

    async fn acknowledge(&self, delivery: &Delivery) -> Result<bool, BrokerError> {
        let was_held = self.inner.acknowledge(delivery).await;
        self.trap.reach(Point::Acked, delivery.task.stage).await;
        was_held
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), BrokerError> {
        self.inner.release(delivery).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<QueueDepth, BrokerError> {
        self.inner.depth(queue).await
    }

    async fn dead_letters(&self) -> Result<u64, BrokerError> {
        self.inner.dead_letters().await
    }

    fn blocked(&self) -> Option<BrokerError> {
        self.inner.blocked()
    }
}

/// The coordinator as a worker sees it.
#[derive(Debug)]
pub(super) struct TrappedCoordinator {
    pub(super) inner: Arc<dyn Coordinator>,
    pub(super) trap: Trap,
}

#[async_trait]
impl Coordinator for TrappedCoordinator {
    async fn hello(&self, hello: &Hello) -> Result<Welcome, CoordinatorError> {
        self.inner.hello(hello).await
    }

    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, CoordinatorError> {
        let answer = self.inner.claim(claim).await;
        if let Ok(ClaimAnswer::Granted { .. }) = answer {
            self.trap.reach(Point::Claimed, claim.task.stage).await;
        }
        answer
    }

    async fn heartbeat(
        &self,
        attempt: &ClaimedAttempt,
        progress: &Progress,
    ) -> Result<Directive, CoordinatorError> {
        self.inner.heartbeat(attempt, progress).await
    }

    async fn complete(
        &self,
        attempt: &ClaimedAttempt,
        result: &StageResult,
    ) -> Result<ReportOutcome, CoordinatorError> {
        self.trap.reach(Point::BeforeCommit, attempt.key.stage).await;
        let reporting = self.inner.complete(attempt, result);
        self.trap.during(Point::ResultSent, attempt.key.stage, reporting).await
    }

    async fn fail(
        &self,
        attempt: &ClaimedAttempt,
        message: &str,
        retryable: bool,
    ) -> Result<ReportOutcome, CoordinatorError> {
        self.inner.fail(attempt, message, retryable).await
    }

    async fn hand_back(&self, attempt: &ClaimedAttempt) -> Result<ReportOutcome, CoordinatorError> {
        self.inner.hand_back(attempt).await
    }

    async fn append_log(&self, attempt: &ClaimedAttempt, lines: &[LogLine]) -> Result<(), CoordinatorError> {
        self.inner.append_log(attempt, lines).await
    }
}

/// A state store.
#[derive(Debug)]
pub(super) struct TrappedState {
    pub(super) inner: Arc<dyn StateStore>,
    pub(super) trap: Trap,
}

#[async_trait]
impl StateStore for TrappedState {
    async fn now(&self) -> Result<Timestamp, StateError> {
        self.inner.now().await
    }

    async fn load(&self, key: &RecordKey) -> Result<Option<Record>, StateError> {
        self.inner.load(key).await
    }

    async fn load_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StateError> {
        self.inner.load_all(keys).await
    }

    async fn list(
        &self,
        kind: &'static str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, StateError> {
        self.inner.list(kind, after, limit).await
    }

    async fn commit(&self, commit: &Commit) -> Result<(), StateError> {
        self.inner.commit(commit).await?;
        let Some(entry) = commit.outbox.first() else { return Ok(()) };
        self.trap.reach(Point::TaskCommitted, entry.task.stage).await;
        if commit.events.iter().any(|(_, event)| event.contains(r#""event":"succeeded""#)) {
            self.trap.reach(Point::ResultCommitted, entry.task.stage).await;
        }
        Ok(())
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<RecordKey>, StateError> {
        self.inner.due(until, limit).await
    }

    async fn outbox(&self, until: Timestamp, limit: usize) -> Result<Vec<OutboxEntry>, StateError> {
        self.inner.outbox(until, limit).await
    }

    async fn settle(&self, entries: &[String]) -> Result<(), StateError> {
        self.inner.settle(entries).await
    }

    async fn members(&self, index: &str, page: &Page) -> Result<Vec<String>, StateError> {
        self.inner.members(index, page).await
    }

    async fn sizes(&self, indexes: &[String]) -> Result<Vec<u64>, StateError> {
        self.inner.sizes(indexes).await
    }

    async fn events(&self, stream: &str, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StateError> {
        self.inner.events(stream, after, limit).await
    }

    fn watch(&self) -> broadcast::Receiver<String> {
        self.inner.watch()
    }
}
