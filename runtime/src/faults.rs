//! Ports that fail on purpose: flaky, unanswered, slow, duplicating, reordering; the same seed fails the same way.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use clara_lifecycle::{
    attempt::Progress,
    hello::{Hello, Welcome},
    log::LogLine,
    results::StageResult,
    time::Timestamp,
};
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::{
    broker::{Broker, BrokerError, Delivery, QueueDepth, QueueName, Task},
    coordinator_client::{
        Claim, ClaimAnswer, ClaimedAttempt, Coordinator, CoordinatorError, Directive, ReportOutcome,
    },
    state::{Commit, OutboxEntry, Page, Record, RecordKey, StateError, StateStore, StoredEvent},
};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and does nothing.
    Flaky,
    /// The call does its work, and its answer is lost.
    Unanswered,
    /// The call takes longer.
    Slow(Duration),
}

/// Chances that depend on the seed alone (`SplitMix64`).
#[derive(Debug)]
struct Chance {
    state: Mutex<u64>,
    percent: u64,
}

impl Chance {
    /// Prints the seed, so that a failed test can be repeated: the test runner shows it then.
    fn new(what: &str, seed: u64, percent: u64) -> Self {
        eprintln!("{what}: {percent} % of the calls, seed {seed}");
        Self { state: Mutex::new(seed), percent }
    }

    fn strikes(&self) -> bool {
        let mut state = self.state.lock();
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % 100 < self.percent
    }
}

/// A port of which a share of the calls goes wrong in one way.
pub struct Faulty<P: ?Sized> {
    inner: Arc<P>,
    fault: Fault,
    chance: Chance,
}

impl<P: ?Sized> fmt::Debug for Faulty<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Faulty")
            .field("fault", &self.fault)
            .field("chance", &self.chance)
            .finish_non_exhaustive()
    }
}

impl<P: ?Sized> Faulty<P> {
    /// Lets `percent` of the calls of `inner` go wrong as `fault` says.
    pub fn new(inner: Arc<P>, fault: Fault, percent: u64, seed: u64) -> Self {
        Self { inner, fault, chance: Chance::new(&format!("{fault:?}"), seed, percent) }
    }

    async fn through<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        unavailable: impl Fn(&str) -> E,
    ) -> Result<T, E> {
        if !self.chance.strikes() {
            return call.await;
        }
        match self.fault {
            Fault::Flaky => Err(unavailable("a fault was injected before the call")),
            Fault::Unanswered => call.await.and_then(|_| Err(unavailable("a fault swallowed the answer"))),
            Fault::Slow(delay) => {
                tokio::time::sleep(delay).await;
                call.await
            }
        }
    }
}

fn no_state(reason: &str) -> StateError {
    StateError::Unavailable { store: "faulty store".to_owned(), reason: reason.to_owned() }
}

fn no_broker(reason: &str) -> BrokerError {
    BrokerError::Unavailable { broker: "faulty broker".to_owned(), reason: reason.to_owned() }
}

fn no_coordinator(reason: &str) -> CoordinatorError {
    CoordinatorError::Unavailable { url: "faulty coordinator".to_owned(), reason: reason.to_owned() }
}

#[async_trait]
impl StateStore for Faulty<dyn StateStore> {
    async fn now(&self) -> Result<Timestamp, StateError> {
        self.through(self.inner.now(), no_state).await
    }

    async fn load(&self, key: &RecordKey) -> Result<Option<Record>, StateError> {
        self.through(self.inner.load(key), no_state).await
    }

    async fn load_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StateError> {
        self.through(self.inner.load_all(keys), no_state).await
    }

    async fn list(
        &self,
        kind: &'static str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, StateError> {
        self.through(self.inner.list(kind, after, limit), no_state).await
    }

    async fn commit(&self, commit: &Commit) -> Result<(), StateError> {
        self.through(self.inner.commit(commit), no_state).await
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<RecordKey>, StateError> {
        self.through(self.inner.due(until, limit), no_state).await
    }

    async fn outbox(&self, until: Timestamp, limit: usize) -> Result<Vec<OutboxEntry>, StateError> {
        self.through(self.inner.outbox(until, limit), no_state).await
    }

    async fn settle(&self, entries: &[String]) -> Result<(), StateError> {
        self.through(self.inner.settle(entries), no_state).await
    }

    async fn members(&self, index: &str, page: &Page) -> Result<Vec<String>, StateError> {
        self.through(self.inner.members(index, page), no_state).await
    }

    async fn sizes(&self, indexes: &[String]) -> Result<Vec<u64>, StateError> {
        self.through(self.inner.sizes(indexes), no_state).await
    }

    async fn events(&self, stream: &str, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StateError> {
        self.through(self.inner.events(stream, after, limit), no_state).await
    }

    fn watch(&self) -> broadcast::Receiver<String> {
        self.inner.watch()
    }
}

#[async_trait]
impl Broker for Faulty<dyn Broker> {
    async fn publish(&self, task: &Task) -> Result<(), BrokerError> {
        self.through(self.inner.publish(task), no_broker).await
    }

    async fn receive(&self, queues: &[QueueName], wait: Duration) -> Result<Option<Delivery>, BrokerError> {
        let delivered = Mutex::new(None);
        let receiving = async {
            let delivery = self.inner.receive(queues, wait).await?;
            delivered.lock().clone_from(&delivery);
            Ok(delivery)
        };
        let answer = self.through(receiving, no_broker).await;
        let swallowed = delivered.into_inner().filter(|_| answer.is_err());
        if let Some(delivery) = swallowed {
            // A connection that is lost gives back what was delivered over it.
            self.inner.release(&delivery).await?;
        }
        answer
    }

    async fn acknowledge(&self, delivery: &Delivery) -> Result<bool, BrokerError> {
        self.through(self.inner.acknowledge(delivery), no_broker).await
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), BrokerError> {
        self.through(self.inner.release(delivery), no_broker).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<QueueDepth, BrokerError> {
        self.through(self.inner.depth(queue), no_broker).await
    }

    async fn dead_letters(&self) -> Result<u64, BrokerError> {
        self.through(self.inner.dead_letters(), no_broker).await
    }
}

#[async_trait]
impl Coordinator for Faulty<dyn Coordinator> {
    async fn hello(&self, hello: &Hello) -> Result<Welcome, CoordinatorError> {
        self.through(self.inner.hello(hello), no_coordinator).await
    }

    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, CoordinatorError> {
        self.through(self.inner.claim(claim), no_coordinator).await
    }

    async fn heartbeat(
        &self,
        attempt: &ClaimedAttempt,
        progress: &Progress,
    ) -> Result<Directive, CoordinatorError> {
        self.through(self.inner.heartbeat(attempt, progress), no_coordinator).await
    }

    async fn complete(
        &self,
        attempt: &ClaimedAttempt,
        result: &StageResult,
    ) -> Result<ReportOutcome, CoordinatorError> {
        self.through(self.inner.complete(attempt, result), no_coordinator).await
    }

    async fn fail(
        &self,
        attempt: &ClaimedAttempt,
        message: &str,
        retryable: bool,
    ) -> Result<ReportOutcome, CoordinatorError> {
        self.through(self.inner.fail(attempt, message, retryable), no_coordinator).await
    }

    async fn hand_back(&self, attempt: &ClaimedAttempt) -> Result<ReportOutcome, CoordinatorError> {
        self.through(self.inner.hand_back(attempt), no_coordinator).await
    }

    async fn append_log(&self, attempt: &ClaimedAttempt, lines: &[LogLine]) -> Result<(), CoordinatorError> {
        self.through(self.inner.append_log(attempt, lines), no_coordinator).await
    }
}

/// A broker that publishes a share of the tasks twice.
#[derive(Debug)]
pub struct Duplicating {
    inner: Arc<dyn Broker>,
    chance: Chance,
}

impl Duplicating {
    /// Publishes `percent` of the tasks twice.
    pub fn new(inner: Arc<dyn Broker>, percent: u64, seed: u64) -> Self {
        Self { inner, chance: Chance::new("Duplicating", seed, percent) }
    }
}

#[async_trait]
impl Broker for Duplicating {
    async fn publish(&self, task: &Task) -> Result<(), BrokerError> {
        if self.chance.strikes() {
            self.inner.publish(task).await?;
        }
        self.inner.publish(task).await
    }

    async fn receive(&self, queues: &[QueueName], wait: Duration) -> Result<Option<Delivery>, BrokerError> {
        self.inner.receive(queues, wait).await
    }

    async fn acknowledge(&self, delivery: &Delivery) -> Result<bool, BrokerError> {
        self.inner.acknowledge(delivery).await
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
}

/// A broker that now and then delivers the second task before the first.
#[derive(Debug)]
pub struct Reordering {
    inner: Arc<dyn Broker>,
    chance: Chance,
}

impl Reordering {
    /// Changes the order of `percent` of the deliveries.
    pub fn new(inner: Arc<dyn Broker>, percent: u64, seed: u64) -> Self {
        Self { inner, chance: Chance::new("Reordering", seed, percent) }
    }
}

#[async_trait]
impl Broker for Reordering {
    async fn publish(&self, task: &Task) -> Result<(), BrokerError> {
        self.inner.publish(task).await
    }

    async fn receive(&self, queues: &[QueueName], wait: Duration) -> Result<Option<Delivery>, BrokerError> {
        let Some(first) = self.inner.receive(queues, wait).await? else { return Ok(None) };
        if !self.chance.strikes() {
            return Ok(Some(first));
        }
        let Some(second) = self.inner.receive(queues, Duration::ZERO).await? else {
            return Ok(Some(first));
        };
        self.inner.release(&first).await?;
        Ok(Some(second))
    }

    async fn acknowledge(&self, delivery: &Delivery) -> Result<bool, BrokerError> {
        self.inner.acknowledge(delivery).await
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
}
