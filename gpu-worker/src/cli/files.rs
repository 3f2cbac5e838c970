//! The output folder of `gpu-worker train`: refused, fresh, to be continued or finished.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::{checkpoint::CheckpointFolder, train::REPORT_FILE};

/// Where a training writes.
#[derive(Debug)]
pub(super) struct OutputFolder(PathBuf);

impl OutputFolder {
    /// Takes a new or empty folder, or with `resume` one of an earlier attempt.
    pub(super) fn open(path: &Path, resume: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        if !resume && entries.next().is_some() {
            bail!(
                "{} is not empty; choose another folder, or continue the training in it with --resume",
                path.display()
            );
        }
        Ok(Self(path.to_owned()))
    }

    /// Whether an earlier attempt finished; its report is written last.
    pub(super) fn is_finished(&self) -> bool {
        self.report().exists()
    }

    pub(super) fn checkpoints(&self) -> CheckpointFolder {
        CheckpointFolder::new(self.0.join("checkpoints"))
    }

    /// The adapter's folder; one that an attempt wrote right before it was killed is removed.
    pub(super) fn fresh_adapter(&self) -> anyhow::Result<PathBuf> {
        let folder = self.0.join("adapter");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot replace {}", folder.display()))?;
        }
        Ok(folder)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn report(&self) -> PathBuf {
        self.file(REPORT_FILE)
    }
}
