//! One change in the making: records, events, tasks and audit entries of one atomic commit.

use std::{collections::BTreeMap, sync::Arc};

use clara_lifecycle::{
    adapter::Family,
    audit::{AuditHead, AuditNote},
    id::{Attempt, Domain, JobId},
    job::Job,
    spec::Method,
    stage::Stage,
    time::Timestamp,
};
use clara_runtime::{
    broker::Task,
    metrics,
    state::{Body, Commit, Deadline, IndexChange, Limit, OutboxEntry, RecordKey, StateError, Write},
};
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    copies::{Copies, FamilyAndHead},
    driver::{Driver, DriverError},
    indexes, job_log,
    outbox::Relay,
    records::{
        AUDIT_CHAINS, Records, Stored, audit_chain, audit_key, audit_stream, job_stream, submission_key,
        to_json,
    },
    registry::RegistryPolicy,
    stored_family,
    stored_job::{self, job_key},
};

/// A family before and after a change.
#[derive(Debug)]
struct Changing {
    before: Option<Arc<FamilyAndHead>>,
    after: Stored<Family>,
}

/// Collects what shall happen together.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    records: &'a Records,
    relay: Option<&'a Relay>,
    pub(crate) registry: &'a RegistryPolicy,
    now: Timestamp,
    commit: Commit,
    families: BTreeMap<String, Changing>,
    copies: &'a Copies,
    may_use_copies: bool,
    grown_chains: BTreeMap<String, Stored<AuditHead>>,
    /// Chains that were loaded and got no entry yet.
    loaded_chains: BTreeMap<String, Stored<AuditHead>>,
}

impl<'a> Change<'a> {
    /// An empty change at the store's time.
    pub(crate) async fn begin(driver: &'a Driver) -> Result<Self, DriverError> {
        let Driver { records, relay, registry, copies, .. } = driver;
        let now = records.state.now().await?;
        let commit = Commit { id: commit_id(), ..Commit::default() };
        Ok(Self {
            records,
            relay: relay.as_ref(),
            registry,
            now,
            commit,
            families: BTreeMap::new(),
            may_use_copies: false,
            copies,
            grown_chains: BTreeMap::new(),
            loaded_chains: BTreeMap::new(),
        })
    }

    /// Decides on copies of families where there are some. They may be old: who is refused decides anew without them.
    pub(crate) fn on_copies(mut self) -> Self {
        self.may_use_copies = true;
        self
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// The store's time as RFC 3339.
    pub(crate) fn now_text(&self) -> String {
        time_text(self.now)
    }

    /// The family, loaded once and written with the change.
    pub(crate) async fn family(
        &mut self,
        domain: &Domain,
        method: Method,
    ) -> Result<&mut Family, DriverError> {
        let family_id = format!("{domain}-{method}");
        if !self.families.contains_key(&family_id) {
            let copy = self.copies.families.get(&family_id).filter(|_| self.may_use_copies);
            let stored = match copy {
                Some(copy) => Some(copy),
                None => self.load_family(&family_id).await?,
            };
            let changing = if let Some(Stored { version, value: before }) = stored {
                // What happens to a family is noted in its chain.
                self.loaded_chains.insert(audit_chain(&family_id), before.head.clone());
                let after = Stored { version, value: before.family.clone() };
                Changing { before: Some(before), after }
            } else {
                let value = Family::new(domain.clone(), method);
                Changing { before: None, after: Stored { version: None, value } }
            };
            self.families.insert(family_id.clone(), changing);
        }
        let missing = || DriverError::Record { key: family_id.clone(), reason: "is not loaded".to_owned() };
        Ok(&mut self.families.get_mut(&family_id).ok_or_else(missing)?.after.value)
    }

    /// A stored family; where there is none, the head of its chain is known nevertheless.
    async fn load_family(
        &mut self,
        family_id: &str,
    ) -> Result<Option<Stored<Arc<FamilyAndHead>>>, DriverError> {
        let chain = audit_chain(family_id);
        let (stored, head) = self.records.family_and_head(family_id, &chain).await?;
        let Some(Stored { version, value: family }) = stored else {
            self.loaded_chains.insert(chain, head);
            return Ok(None);
        };
        Ok(Some(Stored { version, value: Arc::new(FamilyAndHead { family, head }) }))
    }

    /// Writes a record that must have the version under which it was loaded.
    pub(crate) fn write<T: Serialize>(
        &mut self,
        key: RecordKey,
        stored: &Stored<T>,
    ) -> Result<(), DriverError> {
        let body = Body::put(to_json(&key, &stored.value)?);
        self.commit.writes.push(Write { key, expected: stored.version, body });
        Ok(())
    }

    /// Removes a record that is stored under `version`.
    pub(crate) fn remove(&mut self, key: RecordKey, version: u64) {
        self.commit.writes.push(Write { key, expected: Some(version), body: Body::Remove });
    }

    /// Writes a job, which was `before`, and keeps its indexes.
    pub(crate) fn write_job(
        &mut self,
        before: Option<&Job>,
        stored: &Stored<&Job>,
    ) -> Result<(), DriverError> {
        self.commit.indexes.extend(indexes::changes(before, stored.value));
        self.commit.writes.push(stored_job::write(before, stored)?);
        Ok(())
    }

    /// Removes a job that is over, with its log and its indexes; its events stay.
    pub(crate) async fn remove_job(&mut self, stored: &Stored<Job>) -> Result<(), DriverError> {
        let job = &stored.value;
        self.commit.indexes.extend(indexes::removal(job));
        let (key, expected) = (job_key(&job.id), stored.version);
        self.commit.writes.push(Write { key, expected, body: Body::Remove });
        let (writes, indexes) = job_log::removal(self.records, &job.id).await?;
        self.commit.writes.extend(writes);
        self.commit.indexes.extend(indexes);
        if let Some(key) = &job.spec.idempotency_key {
            let key = submission_key(key);
            if let Some(record) =
                self.records.load::<JobId>(&key).await?.filter(|record| record.value == job.id)
            {
                self.commit.writes.push(Write { key, expected: record.version, body: Body::Remove });
            }
        }
        Ok(())
    }

    /// A record must still have this version for the change to happen.
    pub(crate) fn unless_changed(&mut self, key: RecordKey, version: Option<u64>) {
        self.commit.writes.push(Write { key, expected: version, body: Body::Keep });
    }

    /// What must hold for the change to happen.
    pub(crate) fn within(&mut self, limits: Vec<Limit>) {
        self.commit.limits.extend(limits);
    }

    pub(crate) fn event<T: Serialize>(&mut self, stream: String, event: &T) -> Result<(), DriverError> {
        let body = to_json(&RecordKey::new("event", stream.clone()), event)?;
        self.commit.events.push((stream, body));
        Ok(())
    }

    pub(crate) fn job_event<T: Serialize>(&mut self, job: &JobId, event: &T) -> Result<(), DriverError> {
        self.event(job_stream(job), event)
    }

    pub(crate) fn publish(&mut self, task: Task, not_before: Timestamp) -> Result<(), DriverError> {
        let unwritable = |error: serde_json::Error| DriverError::Record {
            key: "outbox".to_owned(),
            reason: error.to_string(),
        };
        self.commit.outbox.push(OutboxEntry::new(task, not_before).map_err(unwritable)?);
        Ok(())
    }

    pub(crate) fn watch(&mut self, job: &JobId, at: Option<Timestamp>) {
        self.commit.deadlines.retain(|deadline| deadline.key != job_key(job));
        self.commit.deadlines.push(Deadline { key: job_key(job), at });
    }

    pub(crate) async fn audit(&mut self, note: AuditNote) -> Result<(), DriverError> {
        let at = self.now_text();
        let chain = audit_chain(&note.subject);
        let mut head = match self.grown_chains.remove(&chain).or_else(|| self.loaded_chains.remove(&chain)) {
            Some(head) => head,
            None => self.records.audit_head(&chain).await?,
        };
        if head.value.number == 0 {
            let index = AUDIT_CHAINS.to_owned();
            self.commit.indexes.push(IndexChange { index, member: chain.clone(), present: true });
        }
        let entry = head.value.append(&chain, note, at);
        self.event(audit_stream(&chain), &entry)?;
        self.grown_chains.insert(chain, head);
        Ok(())
    }

    /// Makes it happen, all of it or nothing.
    pub(crate) async fn commit(mut self) -> Result<(), DriverError> {
        let families = std::mem::take(&mut self.families);
        for Changing { before, after } in families.values() {
            let before = before.as_ref().map(|before| &before.family);
            self.commit.writes.push(stored_family::write(before, after)?);
        }
        let mut heads = std::mem::take(&mut self.loaded_chains);
        for (chain, head) in std::mem::take(&mut self.grown_chains) {
            self.write(audit_key(&chain), &head)?;
            heads.insert(chain, head.committed());
        }
        let published = self.relay.map(|_| Relay::reserve(&mut self.commit.outbox, self.now));
        let began = Instant::now();
        let mut result = self.records.state.commit(&self.commit).await;
        // The commit's id makes the repetition harmless when only the answer was lost.
        for _ in 0..3 {
            match &result {
                Err(error) if error.is_retryable() => {
                    // A store that crashed may come back without its last second.
                    self.copies.clear();
                    result = self.records.state.commit(&self.commit).await;
                }
                _ => break,
            }
        }
        metrics::committed(began.elapsed(), matches!(result, Err(StateError::Conflict { .. })));
        if let Err(StateError::Conflict { key, .. }) = &result {
            self.copies.forget(key);
        }
        result?;
        for (family_id, Changing { after, .. }) in families {
            let Stored { version, value: family } = after.committed();
            if let Some(head) = heads.remove(&audit_chain(&family_id)) {
                let copy = FamilyAndHead { family, head };
                let weight = copy.weight();
                self.copies.families.put(&family_id, Stored { version, value: Arc::new(copy) }, weight);
            }
        }
        if let Some((relay, entries)) = self.relay.zip(published) {
            relay.publish(entries);
        }
        Ok(())
    }
}

/// A name for a commit, which its records remember, so it is short: 60 random bits.
fn commit_id() -> String {
    format!("{:016x}", Uuid::new_v4().as_u64_pair().0)
}

/// A point in time as RFC 3339.
pub(crate) fn time_text(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// The task of one attempt.
pub(crate) fn task_of(job: &Job, stage: Stage, attempt: Attempt) -> Task {
    let (priority, class) = (job.spec.priority, job.spec.resource_class.clone());
    Task { job: job.id.clone(), stage, attempt, priority, class }
}
