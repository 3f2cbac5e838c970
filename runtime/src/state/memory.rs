//! A state store in memory, for simulations and tests: the same rules, no file, any clock, nothing kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use async_trait::async_trait;
use clara_lifecycle::time::Timestamp;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::{
    Body, Commit, Limit, Order, OutboxEntry, Page, Record, RecordKey, StateError, StateStore, StoredEvent,
    Write,
};
use crate::clock::Clock;

/// A state store in memory; clones are the same store.
#[derive(Debug, Clone)]
pub struct MemoryState {
    clock: Arc<dyn Clock>,
    tables: Arc<Mutex<Tables>>,
    streams: broadcast::Sender<String>,
}

#[derive(Debug, Default)]
struct Tables {
    now: i64,
    records: BTreeMap<RecordKey, Record>,
    events: BTreeMap<String, Vec<StoredEvent>>,
    /// With the position at which each entry came.
    outbox: BTreeMap<String, (u64, OutboxEntry)>,
    outbox_entries: u64,
    deadlines: BTreeMap<RecordKey, Timestamp>,
    indexes: BTreeMap<String, BTreeSet<String>>,
    commits: BTreeSet<String>,
}

impl MemoryState {
    /// An empty store that follows `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tables: Arc::default(), streams: broadcast::channel(1024).0 }
    }

    /// Runs `work` at the store's time, which never goes back.
    fn at<R>(&self, work: impl FnOnce(&mut Tables, Timestamp) -> R) -> R {
        let mut tables = self.tables.lock();
        tables.now = tables.now.max(self.clock.now().0);
        let now = Timestamp(tables.now);
        work(&mut tables, now)
    }
}

#[async_trait]
impl StateStore for MemoryState {
    async fn now(&self) -> Result<Timestamp, StateError> {
        Ok(self.at(|_, now| now))
    }

    async fn load(&self, key: &RecordKey) -> Result<Option<Record>, StateError> {
        Ok(self.at(|tables, _| tables.records.get(key).cloned()))
    }

    async fn load_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StateError> {
        Ok(self.at(|tables, _| keys.iter().map(|key| tables.records.get(key).cloned()).collect()))
    }

    async fn list(
        &self,
        kind: &'static str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, StateError> {
        let from = match after {
            Some(after) => Bound::Excluded(RecordKey::new(kind, after)),
            None => Bound::Included(RecordKey::new(kind, "")),
        };
        Ok(self.at(|tables, _| {
            let of_kind = tables.records.range((from, Bound::Unbounded));
            let of_kind = of_kind.take_while(|(key, _)| key.kind == kind).take(limit);
            of_kind.map(|(_, record)| record.clone()).collect()
        }))
    }

    async fn commit(&self, commit: &Commit) -> Result<(), StateError> {
        let is_new = self.at(|tables, now| tables.apply(commit, now))?;
        if is_new {
            for (stream, _) in &commit.events {
                // Nobody may be watching.
                drop(self.streams.send(stream.clone()));
            }
        }
        Ok(())
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<RecordKey>, StateError> {
        Ok(self.at(|tables, _| {
            let due = tables.deadlines.iter().filter(|(_, at)| **at <= until);
            let mut due: Vec<_> = due.map(|(key, at)| (*at, key.clone())).collect();
            due.sort();
            due.into_iter().map(|(_, key)| key).take(limit).collect()
        }))
    }

    async fn outbox(&self, until: Timestamp, limit: usize) -> Result<Vec<OutboxEntry>, StateError> {
        Ok(self.at(|tables, _| {
            let due = tables.outbox.values().filter(|(_, entry)| entry.not_before <= until);
            let mut due: Vec<_> = due.collect();
            due.sort_by_key(|(position, entry)| (entry.not_before, *position));
            due.into_iter().map(|(_, entry)| entry.clone()).take(limit).collect()
        }))
    }

    async fn settle(&self, entries: &[String]) -> Result<(), StateError> {
        self.at(|tables, _| {
            for entry in entries {
                tables.outbox.remove(entry);
            }
        });
        Ok(())
    }

    async fn members(&self, index: &str, page: &Page) -> Result<Vec<String>, StateError> {
        Ok(self.at(|tables, _| {
            let Some(members) = tables.indexes.get(index) else { return Vec::new() };
            let after = page.after.clone();
            match page.order {
                Order::Ascending => {
                    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                    members.range((from, Bound::Unbounded)).take(page.limit).cloned().collect()
                }
                Order::Descending => {
                    let to = after.map_or(Bound::Unbounded, Bound::Excluded);
                    members.range((Bound::Unbounded, to)).rev().take(page.limit).cloned().collect()
                }
            }
        }))
    }

    async fn sizes(&self, indexes: &[String]) -> Result<Vec<u64>, StateError> {
        Ok(self.at(|tables, _| indexes.iter().map(|index| tables.size(index)).collect()))
    }

    async fn events(&self, stream: &str, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StateError> {
        Ok(self.at(|tables, _| {
            let events = tables.events.get(stream).into_iter().flatten();
            events.filter(|event| event.number > after).take(limit).cloned().collect()
        }))
    }

    fn watch(&self) -> broadcast::Receiver<String> {
        self.streams.subscribe()
    }
}

impl Tables {
    /// All of the commit or nothing. Answers whether it was not known yet.
    fn apply(&mut self, commit: &Commit, now: Timestamp) -> Result<bool, StateError> {
        if self.commits.contains(&commit.id) {
            return Ok(false);
        }
        for Limit { index, below } in &commit.limits {
            if self.size(index) >= *below {
                return Err(StateError::LimitReached { index: index.clone(), below: *below });
            }
        }
        for Write { key, expected, .. } in &commit.writes {
            let found = self.records.get(key).map(|record| record.version);
            if found != *expected {
                return Err(StateError::Conflict { key: key.clone(), expected: *expected, found });
            }
        }
        if !commit.id.is_empty() {
            self.commits.insert(commit.id.clone());
        }
        self.write(commit, now);
        Ok(true)
    }

    fn write(&mut self, commit: &Commit, now: Timestamp) {
        for Write { key, body, .. } in &commit.writes {
            match body {
                Body::Keep => {}
                Body::Put { body, parts } => {
                    let record = self.records.entry(key.clone()).or_insert_with(|| Record {
                        id: key.id.clone(),
                        version: 0,
                        body: String::new(),
                        parts: BTreeMap::new(),
                    });
                    record.version += 1;
                    record.body.clone_from(body);
                    record.parts.extend(parts.iter().cloned());
                }
                Body::Remove => drop(self.records.remove(key)),
            }
        }
        for change in &commit.indexes {
            let index = self.indexes.entry(change.index.clone()).or_default();
            if change.present {
                index.insert(change.member.clone());
            } else {
                index.remove(&change.member);
            }
        }
        for (stream, body) in &commit.events {
            let events = self.events.entry(stream.clone()).or_default();
            events.push(StoredEvent { number: events.len() as u64 + 1, at: now, body: body.clone() });
        }
        for entry in &commit.outbox {
            self.outbox_entries += 1;
            let position = self.outbox_entries;
            self.outbox.entry(entry.text.clone()).or_insert_with(|| (position, entry.clone()));
        }
        for deadline in &commit.deadlines {
            match deadline.at {
                Some(at) => drop(self.deadlines.insert(deadline.key.clone(), at)),
                None => drop(self.deadlines.remove(&deadline.key)),
            }
        }
    }

    fn size(&self, index: &str) -> u64 {
        self.indexes.get(index).map_or(0, |members| members.len() as u64)
    }
}

#[cfg(test)]
mod tests;
