//! The state store port: versioned records, event streams, outbox and deadlines, changed by one atomic commit.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use clara_lifecycle::time::Timestamp;
use tokio::sync::broadcast;

use crate::broker::Task;

#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod kinds;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod redis;
pub mod sqlite;

/// Names one record: a kind such as `job`, and an id within it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// What the record is, e.g. `job`, `family`, `golden`.
    pub kind: &'static str,
    /// Which one.
    pub id: String,
}

impl RecordKey {
    /// The key of record `id` of `kind`.
    pub fn new(kind: &'static str, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind, self.id)
    }
}

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id within the kind.
    pub id: String,
    /// Grows by one with every change, from 1.
    pub version: u64,
    /// JSON.
    pub body: String,
    /// What was written beside the body, by name: JSON.
    pub parts: BTreeMap<String, String>,
}

/// One change of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The record.
    pub key: RecordKey,
    /// The version that must be stored now; `None` means that the record must not exist.
    pub expected: Option<u64>,
    /// What becomes of it.
    pub body: Body,
}

/// What a write does to its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing: only the version is checked.
    Keep,
    /// It has this body from now on.
    Put {
        /// JSON.
        body: String,
        /// Parts that it has from now on beside those of before, by name (letters, digits, `.`, `-`, `+`): JSON. For what changes
        /// more rarely than the body; each stays until it is written again or the record is removed.
        parts: Vec<(String, String)>,
    },
    /// It is removed; written again it starts at version 1.
    Remove,
}

impl Body {
    /// A body without parts.
    pub fn put(body: String) -> Self {
        Self::Put { body, parts: Vec::new() }
    }
}

/// One change of an index: an ordered set of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexChange {
    /// The index, e.g. `jobs.active`.
    pub index: String,
    /// The member.
    pub member: String,
    /// Whether it is a member from now on. Adding or removing twice is harmless.
    pub present: bool,
}

/// A commit is refused unless the index has fewer members before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The index.
    pub index: String,
    /// How many members are too many.
    pub below: u64,
}

/// Which part of an index is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Where to go on: the last member of the page before.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// From the first member to the last, or back.
    pub order: Order,
}

/// The order in which an index is read; members are compared byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smallest first.
    Ascending,
    /// Greatest first.
    Descending,
}

/// When a record needs a look, e.g. when its lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadline {
    /// The record.
    pub key: RecordKey,
    /// From when on; `None` removes the deadline.
    pub at: Option<Timestamp>,
}

/// A task to be published, not before a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The task as it is stored, which names the entry: written again before it is settled, the first one stays.
    pub text: String,
    /// The task.
    pub task: Task,
    /// Earliest time of publication.
    pub not_before: Timestamp,
}

impl OutboxEntry {
    /// An entry for `task`.
    ///
    /// # Errors
    /// When the task cannot be written as JSON.
    pub fn new(task: Task, not_before: Timestamp) -> Result<Self, serde_json::Error> {
        Ok(Self { text: serde_json::to_string(&task)?, task, not_before })
    }
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Position in its stream, from 1, without gaps.
    pub number: u64,
    /// When it was committed.
    pub at: Timestamp,
    /// JSON.
    pub body: String,
}

/// Everything that happens in one atomic step: all of it, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// Names the commit: repeated after an unanswered call it changes nothing and answers as before, or with a conflict
    /// when five other commits put the same record meanwhile.
    /// An empty id names nothing: such a commit is never taken for a repetition.
    pub id: String,
    /// Records, each with the version it must have.
    pub writes: Vec<Write>,
    /// Events to append: stream and JSON body.
    pub events: Vec<(String, String)>,
    /// Tasks to publish.
    pub outbox: Vec<OutboxEntry>,
    /// Deadlines to set or remove.
    pub deadlines: Vec<Deadline>,
    /// Indexes to change.
    pub indexes: Vec<IndexChange>,
    /// What must hold before.
    pub limits: Vec<Limit>,
}

/// Why the state store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A record had another version than expected: load again and decide anew.
    #[error("record {key} has version {found:?}, expected {expected:?}")]
    Conflict {
        /// The record.
        key: RecordKey,
        /// The version that was expected.
        expected: Option<u64>,
        /// The version that is stored.
        found: Option<u64>,
    },
    /// An index has as many members as a limit of the commit allows.
    #[error("index {index} has {below} members or more; the commit allows fewer")]
    LimitReached {
        /// The index.
        index: String,
        /// How many are too many.
        below: u64,
    },
    /// The store could not be reached, or the answer did not come; the effect is unknown.
    #[error("the state store at {store} could not be used: {reason}; check that it is there and has room")]
    Unavailable {
        /// Which store.
        store: String,
        /// What failed.
        reason: String,
    },
    /// The store cannot be used as it is.
    #[error("the state store at {store} cannot be used: {reason}")]
    Refused {
        /// Which store.
        store: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The store lost its data while it was in use.
    #[error(
        "the state store at {store} was emptied or replaced while it was in use: its jobs, registry and golden \
         datasets are lost unless a backup is restored; restore it, or start the coordinators again to go on with \
         an empty store"
    )]
    Emptied {
        /// Which store.
        store: String,
    },
    /// The store was written by another version of Clara.
    #[error(
        "the state store at {store} has layout {found}, expected {expected}; use the version that wrote it"
    )]
    Layout {
        /// Which store.
        store: String,
        /// Layout found.
        found: i64,
        /// Layout of this version.
        expected: i64,
    },
}

impl StateError {
    /// Whether the same call may succeed when repeated unchanged.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Conflict { .. }
            | Self::LimitReached { .. }
            | Self::Refused { .. }
            | Self::Emptied { .. }
            | Self::Layout { .. } => false,
        }
    }
}

/// Holds everything that must survive: every change is one atomic, durable [`Commit`].
#[async_trait]
pub trait StateStore: Send + Sync + fmt::Debug {
    /// The store's clock.
    async fn now(&self) -> Result<Timestamp, StateError>;

    /// One record.
    async fn load(&self, key: &RecordKey) -> Result<Option<Record>, StateError>;

    /// Many records of one moment or of several, in the order of their keys; `None` for those that are missing.
    async fn load_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StateError>;

    /// Records of a kind in order of their ids, after `after` (exclusive), at most `limit`.
    async fn list(
        &self,
        kind: &'static str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, StateError>;

    /// Applies all of the commit, durably, or nothing.
    async fn commit(&self, commit: &Commit) -> Result<(), StateError>;

    /// Keys whose deadline has come by `until`, earliest first, at most `limit`.
    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<RecordKey>, StateError>;

    /// Outbox entries to be published by `until`, earliest first, at most `limit`.
    async fn outbox(&self, until: Timestamp, limit: usize) -> Result<Vec<OutboxEntry>, StateError>;

    /// Removes entries, named by their texts, after their publication. Settling twice is harmless.
    async fn settle(&self, entries: &[String]) -> Result<(), StateError>;

    /// Members of an index.
    async fn members(&self, index: &str, page: &Page) -> Result<Vec<String>, StateError>;

    /// How many members each index has.
    async fn sizes(&self, indexes: &[String]) -> Result<Vec<u64>, StateError>;

    /// Events of a stream after `after` (0 for all), at most `limit`.
    async fn events(&self, stream: &str, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StateError>;

    /// Wakes after commits, with the names of streams that grew; a hint that may be lost or lag, never the truth.
    fn watch(&self) -> broadcast::Receiver<String>;
}
