//! Active jobs as this coordinator last committed them, so that most events need no read.
//!
//! A copy may be old. What is decided on it is committed only over the version that it has, and what is refused because
//! of it is decided anew on what is stored.

use std::{collections::HashMap, sync::Arc};

use clara_lifecycle::{id::JobId, job::Job};
use parking_lot::Mutex;

use crate::records::Stored;

/// Jobs that are kept at least; at most twice as many.
const KEPT: usize = 1024;

/// The newest copies; clones are the same cache.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobCache(Arc<Mutex<Generations>>);

/// What was used lately, and what was used before that.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<JobId, Stored<Arc<Job>>>,
    old: HashMap<JobId, Stored<Arc<Job>>>,
}

impl JobCache {
    /// The copy of a job.
    pub(crate) fn get(&self, job: &JobId) -> Option<Stored<Arc<Job>>> {
        let generations = self.0.lock();
        generations.young.get(job).or_else(|| generations.old.get(job)).cloned()
    }

    /// Keeps a job as it is stored.
    pub(crate) fn put(&self, stored: Stored<Arc<Job>>) {
        let mut generations = self.0.lock();
        let kept = generations.young.get(&stored.value.id);
        if kept.is_some_and(|kept| kept.version > stored.version) {
            return;
        }
        if kept.is_none() && generations.young.len() >= KEPT {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(stored.value.id.clone(), stored);
    }

    /// Forgets a job.
    pub(crate) fn forget(&self, job: &JobId) {
        let mut generations = self.0.lock();
        generations.young.remove(job);
        generations.old.remove(job);
    }
}
