//! Scratch folders: one per worker under a lock, one per attempt; those of dead workers are removed.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use clara_lifecycle::id::WorkerId;

use crate::coordinator_client::ClaimedAttempt;

/// Held locked for as long as the worker lives; the system unlocks it even when the worker is killed.
const LOCK: &str = "worker.lock";

/// The scratch folder of one worker; removed with it.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes the worker's folder in `root`, and removes those that dead workers left there.
    pub(super) fn open(root: &Path, worker: &WorkerId) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        remove_left_behind(root);
        let folder = root.join(worker.as_str());
        // Made under a name that nobody looks at, so that it is never seen without its lock.
        let hidden = root.join(format!(".{worker}"));
        fs::create_dir(&hidden)?;
        let lock = File::create(hidden.join(LOCK))?;
        lock.try_lock().map_err(io::Error::from)?;
        fs::rename(&hidden, &folder)?;
        Ok(Self { folder, _lock: lock })
    }

    /// The folder of an attempt; many attempts need none, so it is left to them to make it.
    pub(super) fn of(&self, attempt: &ClaimedAttempt) -> PathBuf {
        let key = attempt.key;
        self.folder.join(format!("{}-{}-{}-{}", attempt.job, key.stage, key.attempt, key.fence))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// Removes a folder, if there is one, and what is in it.
pub(super) fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(
            "scratch folder {} could not be removed: {error}; remove it by hand",
            folder.display()
        );
    }
}

fn remove_left_behind(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    // A hidden folder may be a starting worker's that is not locked yet.
    let made = |entry: &fs::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
    for folder in entries.flatten().filter(made).map(|entry| entry.path()) {
        // Locking tells whether the owner lives; what has no lock is none of ours.
        let is_dead = File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
        if is_dead {
            remove(&folder);
        }
    }
}

#[cfg(test)]
mod tests;
