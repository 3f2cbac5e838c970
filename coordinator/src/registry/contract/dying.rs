//! A state store whose coordinator dies after so many calls.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use clara_lifecycle::time::Timestamp;
use clara_runtime::state::{
    Commit, OutboxEntry, Page, Record, RecordKey, StateError, StateStore, StoredEvent,
};
use tokio::sync::broadcast;

/// Answers so many calls and none after them; the one at which it dies does its work or does not.
#[derive(Debug)]
pub(super) struct Dying {
    inner: Arc<dyn StateStore>,
    left: AtomicI64,
    after_the_call: bool,
}

impl Dying {
    pub(super) fn new(inner: Arc<dyn StateStore>, calls: i64, after_the_call: bool) -> Self {
        Self { inner, left: AtomicI64::new(calls), after_the_call }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    async fn through<T>(&self, call: impl Future<Output = Result<T, StateError>>) -> Result<T, StateError> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        if left > 0 {
            return call.await;
        }
        if left == 0 && self.after_the_call {
            drop(call.await);
        }
        Err(StateError::Unavailable { store: "dying store".to_owned(), reason: "it is dead".to_owned() })
    }
}

#[async_trait]
impl StateStore for Dying {
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
