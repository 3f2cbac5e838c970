//! The ports of one simulated process: the network between it and the state store, the broker and the coordinators.

use std::{future::Future, time::Duration};

use async_trait::async_trait;
use clara_lifecycle::time::Timestamp;
use clara_runtime::{
    broker::{Broker, BrokerError, Delivery, QueueDepth, QueueName, Task, memory::MemoryBroker},
    state::{
        Commit, OutboxEntry, Page, Record, RecordKey, StateError, StateStore, StoredEvent,
        memory::MemoryState,
    },
    task::Tasks,
};
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::{journal::Journal, node::Node, weather::Sky};

/// The state store as one process reaches it.
#[derive(Debug)]
pub(super) struct SimulatedState {
    pub(super) inner: MemoryState,
    pub(super) sky: Sky,
}

impl SimulatedState {
    async fn through<T>(&self, call: impl Future<Output = Result<T, StateError>>) -> Result<T, StateError> {
        self.sky.pass(0, 4).await;
        let weather = self.sky.now();
        if weather.no_state || self.sky.strikes(weather.lost_requests) {
            self.sky.pass(5, 200).await;
            return Err(unavailable("no connection"));
        }
        let answer = call.await;
        if self.sky.strikes(weather.lost_answers) {
            return answer.and_then(|_| Err(unavailable("no answer")));
        }
        answer
    }
}

fn unavailable(reason: &str) -> StateError {
    StateError::Unavailable { store: "simulation".to_owned(), reason: reason.to_owned() }
}

#[async_trait]
impl StateStore for SimulatedState {
    async fn now(&self) -> Result<Timestamp, StateError> {
        self.through(self.inner.now()).await
    }

    async fn load(&self, key: &RecordKey) -> Result<Option<Record>, StateError> {
        self.through(self.inner.load(key)).await
    }

    async fn load_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StateError> {
        self.through(self.inner.load_all(keys)).await
    }

    async fn list(
        &self,
        kind: &'static str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, StateError> {
        self.through(self.inner.list(kind, after, limit)).await
    }

    async fn commit(&self, commit: &Commit) -> Result<(), StateError> {
        self.through(self.inner.commit(commit)).await
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<RecordKey>, StateError> {
        self.through(self.inner.due(until, limit)).await
    }

    async fn outbox(&self, until: Timestamp, limit: usize) -> Result<Vec<OutboxEntry>, StateError> {
        self.through(self.inner.outbox(until, limit)).await
    }

    async fn settle(&self, entries: &[String]) -> Result<(), StateError> {
        self.through(self.inner.settle(entries)).await
    }

    async fn members(&self, index: &str, page: &Page) -> Result<Vec<String>, StateError> {
        self.through(self.inner.members(index, page)).await
    }

    async fn sizes(&self, indexes: &[String]) -> Result<Vec<u64>, StateError> {
        self.through(self.inner.sizes(indexes)).await
    }

    async fn events(&self, stream: &str, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StateError> {
        self.through(self.inner.events(stream, after, limit)).await
    }

    fn watch(&self) -> broadcast::Receiver<String> {
        self.inner.watch()
    }
}

/// The broker as one process reaches it: one connection.
#[derive(Debug)]
pub(super) struct SimulatedBroker {
    pub(super) inner: MemoryBroker,
    pub(super) node: Node,
    pub(super) sky: Sky,
    pub(super) journal: Journal,
    /// What goes on in the network, whoever sent it.
    pub(super) network: Tasks,
    /// Deliveries of this connection.
    pub(super) held: Mutex<Vec<Delivery>>,
}

impl SimulatedBroker {
    /// The connection ends: what it holds goes back.
    pub(super) async fn disconnect(&self) {
        let held = std::mem::take(&mut *self.held.lock());
        for delivery in held {
            // A broker in memory does not fail.
            drop(self.inner.release(&delivery).await);
        }
    }

    async fn through<T>(&self, call: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
        let work = async {
            let weather = self.sky.now();
            if weather.no_broker || self.sky.strikes(weather.lost_requests) {
                self.sky.pass(5, 200).await;
                return Err(no_broker("no connection"));
            }
            let answer = call.await;
            if self.sky.strikes(weather.lost_answers) {
                return answer.and_then(|_| Err(no_broker("no answer")));
            }
            answer
        };
        self.node.does(work).await
    }

    /// Stores a task, or what the weather makes of it.
    async fn store(&self, task: &Task) -> Result<(), BrokerError> {
        self.sky.pass(0, 4).await;
        let weather = self.sky.now();
        if self.sky.strikes(weather.lost_tasks) {
            self.journal.lost(task);
            return Ok(());
        }
        let copies = if self.sky.strikes(weather.doubled_tasks) { 1 + self.sky.below(3) } else { 0 };
        for _ in 0..copies {
            self.store_late(task);
        }
        if self.sky.strikes(weather.late_tasks) {
            self.store_late(task);
            return Ok(());
        }
        self.inner.publish(task).await
    }

    fn store_late(&self, task: &Task) {
        let wait = self.sky.between(Duration::ZERO, Duration::from_secs(20));
        let (inner, task) = (self.inner.clone(), task.clone());
        self.network.spawn("network.task", async move {
            tokio::time::sleep(wait).await;
            inner.publish(&task).await
        });
    }
}

fn no_broker(reason: &str) -> BrokerError {
    BrokerError::Unavailable { broker: "simulation".to_owned(), reason: reason.to_owned() }
}

#[async_trait]
impl Broker for SimulatedBroker {
    async fn publish(&self, task: &Task) -> Result<(), BrokerError> {
        self.through(self.store(task)).await
    }

    async fn receive(&self, queues: &[QueueName], wait: Duration) -> Result<Option<Delivery>, BrokerError> {
        let receive = async {
            let delivery = self.inner.receive(queues, wait).await?;
            self.held.lock().extend(delivery.clone());
            Ok(delivery)
        };
        let delivery = self.through(receive).await;
        if delivery.is_err() {
            self.disconnect().await;
        }
        delivery
    }

    async fn acknowledge(&self, delivery: &Delivery) -> Result<bool, BrokerError> {
        let answer = self.through(self.inner.acknowledge(delivery)).await;
        self.held.lock().retain(|held| held.tag != delivery.tag);
        if answer.is_err() {
            // The channel is lost with what was not acknowledged; a delivery that was is gone already.
            drop(self.inner.release(delivery).await);
        }
        answer
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), BrokerError> {
        self.held.lock().retain(|held| held.tag != delivery.tag);
        drop(self.inner.release(delivery).await);
        Ok(())
    }

    async fn depth(&self, queue: &QueueName) -> Result<QueueDepth, BrokerError> {
        self.through(self.inner.depth(queue)).await
    }

    async fn dead_letters(&self) -> Result<u64, BrokerError> {
        self.through(self.inner.dead_letters()).await
    }
}
