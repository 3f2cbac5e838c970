//! Records as this coordinator last committed them, so that most events need no read.
//!
//! A copy may be old. What is decided on it is committed only over the version that it has, and what is refused because
//! of it is decided anew on what is stored.

use std::{collections::HashMap, sync::Arc};

use clara_lifecycle::{adapter::Family, audit::AuditHead, job::Job};
use clara_runtime::state::RecordKey;
use parking_lot::Mutex;

use crate::records::{AUDIT, FAMILY, JOB, Stored};

#[cfg(test)]
mod tests;

/// The weight of copies from which on older ones are dropped; twice as much is kept, and one copy more.
const KEPT_JOBS: usize = 1024;
const KEPT_VERSIONS: usize = 2048;

/// A family, and the head of the chain that notes what happens to it.
#[derive(Debug)]
pub(crate) struct FamilyAndHead {
    pub(crate) family: Family,
    pub(crate) head: Stored<AuditHead>,
}

impl FamilyAndHead {
    /// What a copy of it weighs.
    pub(crate) fn weight(&self) -> usize {
        1 + self.family.versions.len()
    }
}

/// Copies of active jobs, and of the families that they change; clones hold the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Copies {
    pub(crate) jobs: Recent<Job>,
    /// By family id; a family weighs as much as its versions.
    pub(crate) families: Recent<FamilyAndHead>,
}

impl Default for Copies {
    fn default() -> Self {
        Self { jobs: Recent::keeping(KEPT_JOBS), families: Recent::keeping(KEPT_VERSIONS) }
    }
}

impl Copies {
    /// Forgets the copy that a record is part of, which turned out to be old.
    pub(crate) fn forget(&self, key: &RecordKey) {
        match key.kind {
            JOB => self.jobs.forget(&key.id),
            // The chain of a family has its name.
            FAMILY | AUDIT => self.families.forget(&key.id),
            _ => {}
        }
    }

    /// Forgets all, since the store may have lost what they are copies of.
    pub(crate) fn clear(&self) {
        self.jobs.clear();
        self.families.clear();
    }
}

/// The newest copies of one kind of record, by id.
#[derive(Debug)]
pub(crate) struct Recent<T>(Arc<Mutex<Shelves<T>>>);

/// What was put lately, and what was put before that.
#[derive(Debug)]
struct Shelves<T> {
    young: HashMap<String, Copied<T>>,
    old: HashMap<String, Copied<T>>,
    young_weight: usize,
    kept_weight: usize,
}

#[derive(Debug)]
struct Copied<T> {
    stored: Stored<Arc<T>>,
    weight: usize,
}

impl<T> Clone for Recent<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Recent<T> {
    fn keeping(kept_weight: usize) -> Self {
        let (young, old) = (HashMap::new(), HashMap::new());
        Self(Arc::new(Mutex::new(Shelves { young, old, young_weight: 0, kept_weight })))
    }

    /// The copy of a record.
    pub(crate) fn get(&self, id: &str) -> Option<Stored<Arc<T>>> {
        let shelves = self.0.lock();
        let copy = shelves.young.get(id).or_else(|| shelves.old.get(id));
        copy.map(|copy| copy.stored.clone())
    }

    /// Keeps a record as it is stored, unless a newer copy is there.
    pub(crate) fn put(&self, id: &str, stored: Stored<Arc<T>>, weight: usize) {
        let mut shelves = self.0.lock();
        let kept = shelves.young.get(id).or_else(|| shelves.old.get(id));
        if kept.is_some_and(|copy| copy.stored.version > stored.version) {
            return;
        }
        if shelves.young_weight >= shelves.kept_weight && !shelves.young.contains_key(id) {
            shelves.old = std::mem::take(&mut shelves.young);
            shelves.young_weight = 0;
        }
        let replaced = shelves.young.insert(id.to_owned(), Copied { stored, weight });
        shelves.young_weight += weight;
        shelves.young_weight -= replaced.map_or(0, |copy| copy.weight);
    }

    /// Forgets a record.
    pub(crate) fn forget(&self, id: &str) {
        let mut shelves = self.0.lock();
        let forgotten = shelves.young.remove(id);
        shelves.young_weight -= forgotten.map_or(0, |copy| copy.weight);
        shelves.old.remove(id);
    }

    fn clear(&self) {
        let mut shelves = self.0.lock();
        shelves.young.clear();
        shelves.old.clear();
        shelves.young_weight = 0;
    }
}
