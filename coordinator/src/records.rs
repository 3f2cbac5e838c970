//! The coordinator's records in the state store, as typed JSON.

use std::sync::Arc;

use clara_lifecycle::{
    adapter::Family,
    audit::AuditHead,
    id::{GoldenDatasetId, GoldenReference, JobId},
};
use clara_runtime::state::{Record, RecordKey, StateError, StateStore};
use serde::{Serialize, de::DeserializeOwned};

use crate::{driver::DriverError, stored_family::family_of};

pub(crate) const JOB: &str = "job";
pub(crate) const FAMILY: &str = "family";
pub(crate) const AUDIT: &str = "audit";
pub(crate) const GOLDEN: &str = "golden";
pub(crate) const GOLDEN_DRAFT: &str = "golden_draft";
/// The index of the chains of the audit log.
pub(crate) const AUDIT_CHAINS: &str = "audit.chains";

/// A record together with the version under which it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored<T> {
    /// `None` when it is not stored yet.
    pub(crate) version: Option<u64>,
    pub(crate) value: T,
}

impl<T> Stored<T> {
    /// As it is stored after it was written over its version.
    pub(crate) fn committed(self) -> Self {
        Self { version: Some(self.version.unwrap_or_default() + 1), ..self }
    }
}

/// Typed access to the state store.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    pub(crate) state: Arc<dyn StateStore>,
}

pub(crate) fn family_key(family_id: &str) -> RecordKey {
    RecordKey::new(FAMILY, family_id)
}

/// The chain that entries about `subject` belong to: that of its family, or of its golden dataset. One chain for all
/// would make every commit with an entry wait for every other one.
pub(crate) fn audit_chain(subject: &str) -> String {
    match subject.split_once('@') {
        Some((dataset, _)) => format!("golden/{dataset}"),
        None => Family::id_of(subject).unwrap_or(subject).to_owned(),
    }
}

/// The record of a chain's newest entry.
pub(crate) fn audit_key(chain: &str) -> RecordKey {
    RecordKey::new(AUDIT, chain)
}

/// The stream of a chain's entries.
pub(crate) fn audit_stream(chain: &str) -> String {
    format!("audit/{chain}")
}

pub(crate) fn submission_key(idempotency_key: &str) -> RecordKey {
    RecordKey::new("submission", idempotency_key)
}

pub(crate) fn draft_key(dataset: &GoldenDatasetId) -> RecordKey {
    RecordKey::new(GOLDEN_DRAFT, dataset.as_str())
}

pub(crate) fn golden_key(reference: &GoldenReference) -> RecordKey {
    RecordKey::new(GOLDEN, reference.to_string())
}

/// The stream of a job's events.
pub(crate) fn job_stream(job: &JobId) -> String {
    format!("job/{job}")
}

pub(crate) fn to_json<T: Serialize>(key: &RecordKey, value: &T) -> Result<String, DriverError> {
    let unwritable = |reason: String| DriverError::Record { key: key.to_string(), reason };
    // Most records fit without growing.
    let mut json = Vec::with_capacity(1024);
    serde_json::to_writer(&mut json, value).map_err(|error| unwritable(error.to_string()))?;
    String::from_utf8(json).map_err(|error| unwritable(error.to_string()))
}

pub(crate) fn from_json<T: DeserializeOwned>(key: &str, body: &str) -> Result<T, DriverError> {
    serde_json::from_str(body)
        .map_err(|error| DriverError::Record { key: key.to_owned(), reason: error.to_string() })
}

/// Reads a part of a record.
pub(crate) fn part<T: DeserializeOwned>(kind: &str, record: &Record, name: &str) -> Result<T, DriverError> {
    let key = format!("{kind}/{} (its part `{name}`)", record.id);
    let missing = || DriverError::Record { key: key.clone(), reason: "it is missing".to_owned() };
    from_json(&key, record.parts.get(name).ok_or_else(missing)?)
}

fn typed<T: DeserializeOwned>(key: &RecordKey, record: &Record) -> Result<Stored<T>, DriverError> {
    Ok(Stored { version: Some(record.version), value: from_json(&key.to_string(), &record.body)? })
}

/// The head of a chain without entries.
fn no_head() -> Stored<AuditHead> {
    Stored { version: None, value: AuditHead::default() }
}

impl Records {
    pub(crate) async fn load<T: DeserializeOwned>(
        &self,
        key: &RecordKey,
    ) -> Result<Option<Stored<T>>, DriverError> {
        self.state.load(key).await?.map(|record| typed(key, &record)).transpose()
    }

    /// All records of a kind, in order of their ids.
    pub(crate) async fn all<T: DeserializeOwned>(&self, kind: &'static str) -> Result<Vec<T>, DriverError> {
        self.every(kind, |record| from_json(&format!("{kind}/{}", record.id), &record.body)).await
    }

    async fn every<T>(
        &self,
        kind: &'static str,
        read: impl Fn(&Record) -> Result<T, DriverError>,
    ) -> Result<Vec<T>, DriverError> {
        const PAGE: usize = 500;
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.state.list(kind, after.as_deref(), PAGE).await?;
            for record in &page {
                found.push(read(record)?);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
                _ => return Ok(found),
            }
        }
    }

    pub(crate) async fn family(&self, family_id: &str) -> Result<Option<Stored<Family>>, DriverError> {
        self.state.load(&family_key(family_id)).await?.map(|record| family_of(&record)).transpose()
    }

    /// All families, in order of their ids.
    pub(crate) async fn families(&self) -> Result<Vec<Family>, DriverError> {
        self.every(FAMILY, |record| Ok(family_of(record)?.value)).await
    }

    /// A family, and the head of the chain that notes what happens to it.
    pub(crate) async fn family_and_head(
        &self,
        family_id: &str,
        chain: &str,
    ) -> Result<(Option<Stored<Family>>, Stored<AuditHead>), DriverError> {
        let head = audit_key(chain);
        let mut found = self.state.load_all(&[family_key(family_id), head.clone()]).await?.into_iter();
        let stored = found.next().flatten().map(|record| family_of(&record)).transpose()?;
        let head = found.next().flatten().map(|record| typed(&head, &record)).transpose()?;
        Ok((stored, head.unwrap_or_else(no_head)))
    }

    pub(crate) async fn audit_head(&self, chain: &str) -> Result<Stored<AuditHead>, DriverError> {
        Ok(self.load(&audit_key(chain)).await?.unwrap_or_else(no_head))
    }

    /// All events of a stream after a number.
    pub(crate) async fn events<T: DeserializeOwned>(
        &self,
        stream: &str,
        after: u64,
    ) -> Result<Vec<T>, DriverError> {
        const PAGE: usize = 500;
        let mut found = Vec::new();
        let mut after = after;
        loop {
            let page = self.state.events(stream, after, PAGE).await?;
            for event in &page {
                found.push(from_json(stream, &event.body)?);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.number,
                _ => return Ok(found),
            }
        }
    }
}

/// Whether a commit lost a race and should be decided anew.
pub(crate) fn is_conflict(error: &DriverError) -> bool {
    matches!(error, DriverError::State(StateError::Conflict { .. }))
}
