//! The folder of a dataset: what is made lies beside it until it is whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clara_ingest_worker::fetch::Saved;

use crate::usage::usage;

/// The file that says by its lock that somebody writes here.
const LOCK: &str = "lock";
/// What a dataset consists of.
const FILES: [&str; 8] = [
    "card.md",
    "dropped.jsonl.zst",
    "dropped.svg",
    "lengths.svg",
    "manifest.json",
    "signatures.bin",
    "train.jsonl",
    "validation.jsonl",
];

/// Where a dataset will lie, and the folder beside it where it is made.
#[derive(Debug, Clone)]
pub(super) struct OutFolder {
    out: PathBuf,
    work: PathBuf,
}

impl OutFolder {
    pub(super) fn of(out: &Path) -> Result<Self> {
        let out = std::path::absolute(out).with_context(|| format!("{} names no folder", out.display()))?;
        let Some(name) = out.file_name() else {
            return Err(usage(format!("{} names no folder; give a new one with --out", out.display())));
        };
        // Always the same one, so that the same command finds what an interrupted one has fetched.
        let work = out.with_file_name(format!(".{}.clara-ingest", name.to_string_lossy()));
        Ok(Self { out, work })
    }

    /// Where the dataset will lie.
    pub(super) fn out(&self) -> &Path {
        &self.out
    }

    /// Where it is made.
    pub(super) fn dataset(&self) -> PathBuf {
        self.work.join("dataset")
    }

    /// For intermediate files.
    pub(super) fn scratch(&self) -> PathBuf {
        self.work.join("scratch")
    }

    /// For what was fetched; an interrupted command leaves it to the next one.
    pub(super) fn fetched(&self) -> PathBuf {
        self.work.join("fetched")
    }

    /// Whether something lies where the dataset shall be.
    pub(super) fn is_taken(&self) -> Result<bool> {
        match fs::read_dir(&self.out) {
            Ok(mut entries) => Ok(entries.next().is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(true),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.out.display())),
        }
    }

    /// Keeps other commands from writing the same dataset for as long as the answer lives.
    pub(super) fn claim(&self) -> Result<fs::File> {
        fs::create_dir_all(&self.work).with_context(|| format!("cannot make {}", self.work.display()))?;
        let path = self.work.join(LOCK);
        let file = fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            // The command before may have removed the file that this one still holds.
            Ok(()) if path.exists() => Ok(file),
            Ok(()) | Err(fs::TryLockError::WouldBlock) => bail!(
                "another clara ingest writes {}; wait until it has ended, or give another folder with --out",
                self.out.display()
            ),
            Err(fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// Refuses to replace what is no dataset, and sources that would go with it.
    pub(super) fn check_replaceable(&self) -> Result<()> {
        let out = self.out.display();
        let is_link = fs::symlink_metadata(&self.out).is_ok_and(|found| found.is_symlink());
        if is_link || !self.out.is_dir() {
            bail!(
                "{out} is no folder with a dataset, and --replace replaces nothing else; give another folder with --out"
            );
        }
        for entry in fs::read_dir(&self.out).with_context(|| format!("cannot read {out}"))? {
            let name = entry.with_context(|| format!("cannot read {out}"))?.file_name();
            if !name.to_str().is_some_and(|name| FILES.contains(&name)) {
                bail!(
                    "{out} holds {}, which is no part of a dataset, and --replace replaces datasets alone; move it away, or give \
                     another folder with --out",
                    name.display()
                );
            }
        }
        Ok(())
    }

    /// Refuses a folder within a source of this machine, and one that holds a source.
    pub(super) fn check_apart_from(&self, source: &str) -> Result<()> {
        let (source, out) = (Path::new(source), &self.out);
        if source.starts_with(out) || (out.starts_with(source) && source.is_dir()) {
            bail!(
                "the folder {} and the source {} lie within each other, so that the dataset would be read as a source or replace \
                 it; give another folder with --out",
                out.display(),
                source.display()
            );
        }
        Ok(())
    }

    /// Makes room for a new dataset; what an interrupted command fetched stays.
    pub(super) fn begin(&self) -> Result<()> {
        for folder in [self.dataset(), self.scratch()] {
            remove(&folder)?;
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(())
    }

    /// Removes what was made in vain. Documents that were fetched stay for the next command; answers the folder then.
    pub(super) fn abandon(&self) -> Result<Option<&Path>> {
        for made in [self.dataset(), self.scratch(), self.work.join(LOCK)] {
            remove(&made)?;
        }
        let saved = Saved::read(&self.fetched())?;
        if saved.sources.iter().any(|source| source.fetched > 0) {
            return Ok(Some(&self.work));
        }
        remove(&self.fetched())?;
        match fs::remove_dir(&self.work) {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", self.work.display())),
        }
    }

    /// Puts the finished dataset in its place; at no moment does half of it lie there.
    pub(super) fn publish(&self) -> Result<()> {
        let before = self.work.join("before");
        remove(&before)?;
        let replaces = self.is_taken()?;
        if replaces {
            move_to(&self.out, &before)?;
        } else if self.out.is_dir() {
            fs::remove_dir(&self.out).with_context(|| format!("cannot replace {}", self.out.display()))?;
        }
        let moved = move_to(&self.dataset(), &self.out);
        if moved.is_err() && replaces {
            move_to(&before, &self.out)?;
        }
        moved?;
        remove(&self.work)
    }
}

fn move_to(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("cannot move {} to {}", from.display(), to.display()))
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clara_ingest_worker::fetch::SavedSource;
    use clara_lifecycle::digest::Digest;

    use super::*;

    #[test]
    fn a_dataset_appears_whole_replaces_another_and_leaves_nothing_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = OutFolder::of(&place.path().join("data")).unwrap();
        for content in ["one", "two"] {
            folder.begin().unwrap();
            fs::write(folder.dataset().join("train.jsonl"), content).unwrap();
            folder.publish().unwrap();
            assert!(folder.is_taken().unwrap());
            assert_eq!(fs::read_to_string(folder.out().join("train.jsonl")).unwrap(), content);
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_made_in_vain_goes_and_what_was_fetched_stays() {
        let place = tempfile::tempdir().unwrap();
        let folder = OutFolder::of(&place.path().join("data")).unwrap();
        folder.begin().unwrap();
        assert_eq!(folder.abandon().unwrap(), None);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        let mut source = SavedSource::new("@gesetze", Digest::of(b"asked"));
        for (fetched, stays) in [(0, false), (3, true)] {
            source.fetched = fetched;
            let mut saved = Saved::default();
            saved.put(source.clone());
            folder.begin().unwrap();
            fs::create_dir(folder.fetched()).unwrap();
            saved.write(&folder.fetched()).unwrap();
            assert_eq!(folder.abandon().unwrap().is_some(), stays);
            assert_eq!(folder.fetched().is_dir(), stays);
            assert!(!folder.dataset().exists() && !folder.scratch().exists());
        }
    }

    #[test]
    fn two_commands_never_write_one_dataset() {
        let place = tempfile::tempdir().unwrap();
        let folder = OutFolder::of(&place.path().join("data")).unwrap();
        let claimed = folder.claim().unwrap();
        assert!(folder.claim().unwrap_err().to_string().contains("another clara ingest writes"));
        drop(claimed);
        folder.claim().unwrap();
        folder.abandon().unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_a_dataset_is_replaced_and_never_a_source() {
        let place = tempfile::tempdir().unwrap();
        let folder = OutFolder::of(&place.path().join("data")).unwrap();
        fs::create_dir(folder.out()).unwrap();
        fs::write(folder.out().join("manifest.json"), "{}").unwrap();
        folder.check_replaceable().unwrap();
        fs::write(folder.out().join("my.txt"), "mine").unwrap();
        assert!(folder.check_replaceable().unwrap_err().to_string().contains("holds my.txt"));
        let file = place.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(OutFolder::of(&file).unwrap().check_replaceable().is_err());
        let within = folder.out().join("law.jsonl");
        assert!(folder.check_apart_from(&within.to_string_lossy()).is_err());
        assert!(folder.check_apart_from(&place.path().to_string_lossy()).is_err());
        folder.check_apart_from(&file.to_string_lossy()).unwrap();
    }

    #[test]
    fn an_empty_folder_is_free_and_a_file_is_taken() {
        let place = tempfile::tempdir().unwrap();
        let empty = OutFolder::of(place.path()).unwrap();
        assert!(!empty.is_taken().unwrap());
        fs::write(place.path().join("file"), "x").unwrap();
        assert!(OutFolder::of(&place.path().join("file")).unwrap().is_taken().unwrap());
        assert!(OutFolder::of(Path::new("/")).is_err());
    }
}
