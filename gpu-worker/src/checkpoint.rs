//! Saves a training between two steps, whole or not at all, so that it continues with the same bytes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clara_lifecycle::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    engine::{AdapterWeights, LoraConfig, TargetModule, TrainingState},
    folder::{FolderError, write_folder},
    model::HostTensor,
    peft::{decode_tensors, encode_tensors},
    train::{StepRecord, ValidationRecord},
};

/// Layout of the files; a checkpoint of another layout is refused.
const FORMAT: u32 = 1;
const STATE_FILE: &str = "state.json";
const TENSORS_FILE: &str = "state.safetensors";
const GROUPS: [&str; 4] = ["adapter", "first_moment", "second_moment", "best"];

/// A training between two steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Adapter and optimiser.
    pub state: TrainingState,
    /// The adapter of the best validation so far, where the training wants to keep it.
    pub best: Option<AdapterWeights>,
    /// Everything else.
    pub progress: TrainingProgress,
}

/// Where a training stands, and what it has measured so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingProgress {
    /// Digest over everything that shapes the result; a checkpoint continues only the same training.
    pub training: Digest,
    /// Passes over the data that are complete.
    pub epoch: u64,
    /// Rows of the next pass that are done.
    pub row: u64,
    /// Seed of initialisation and shuffling; with the epoch it gives the order of rows.
    pub seed: u64,
    /// The steps so far.
    pub steps: Vec<StepRecord>,
    /// The validations so far.
    pub validations: Vec<ValidationRecord>,
    /// Time spent so far, interrupted attempts included.
    pub seconds: f64,
}

#[derive(Serialize, Deserialize)]
struct StateFile {
    format: u32,
    program: String,
    optimiser_steps: u64,
    rank: usize,
    #[serde(default)]
    frozen_rank: usize,
    alpha: f32,
    target_modules: Vec<String>,
    #[serde(default)]
    dora: bool,
    #[serde(default)]
    dropout: f32,
    #[serde(flatten)]
    progress: TrainingProgress,
}

/// Why a checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] FolderError),
    /// A file could not be read.
    #[error("cannot read checkpoint file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("checkpoint {path} cannot be used: {reason}; remove it to continue from an earlier one")]
    Format {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Checkpoint {
    /// Writes the checkpoint into the new folder `folder`.
    ///
    /// # Errors
    /// [`CheckpointError::Write`]; nothing of the folder exists then.
    pub fn write(&self, folder: &Path) -> Result<(), CheckpointError> {
        let format = |reason: String| CheckpointError::Format { path: folder.into(), reason };
        let TrainingState { adapter, first_moments, second_moments, steps } = &self.state;
        let mut tensors = BTreeMap::new();
        let nothing = BTreeMap::new();
        let best = self.best.as_ref().map_or(&nothing, |best| &best.tensors);
        for (group, members) in GROUPS.iter().zip([&adapter.tensors, first_moments, second_moments, best]) {
            tensors.extend(members.iter().map(|(name, tensor)| (format!("{group}/{name}"), tensor.clone())));
        }
        let state = StateFile {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            optimiser_steps: *steps,
            rank: adapter.config.rank,
            frozen_rank: adapter.config.frozen_rank,
            alpha: adapter.config.alpha,
            target_modules: adapter.config.targets.iter().map(|module| module.name().to_owned()).collect(),
            dora: adapter.config.dora,
            dropout: adapter.config.dropout,
            progress: self.progress.clone(),
        };
        let state = serde_json::to_vec_pretty(&state).map_err(|error| format(error.to_string()))?;
        let tensors = encode_tensors(&tensors).map_err(format)?;
        write_folder(folder, &[(STATE_FILE, state), (TENSORS_FILE, tensors)])?;
        Ok(())
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`] when a file is missing, broken or of another layout.
    pub fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|source| CheckpointError::Io { path, source })
        };
        let format = |reason: String| CheckpointError::Format { path: folder.into(), reason };
        let file: StateFile =
            serde_json::from_slice(&read(STATE_FILE)?).map_err(|error| format(error.to_string()))?;
        if file.format != FORMAT {
            return Err(format(format!("it has layout {}, this program reads {FORMAT}", file.format)));
        }
        let mut groups: [BTreeMap<String, HostTensor>; 4] = Default::default();
        for (name, tensor) in decode_tensors(&read(TENSORS_FILE)?).map_err(format)? {
            let place = name.split_once('/').and_then(|(group, rest)| {
                Some((GROUPS.iter().position(|known| *known == group)?, rest.to_owned()))
            });
            let Some((members, rest)) = place.and_then(|(index, rest)| Some((groups.get_mut(index)?, rest)))
            else {
                return Err(format(format!("tensor {name} belongs to no group")));
            };
            members.insert(rest, tensor);
        }
        let [adapter, first_moments, second_moments, best] = groups;
        let mut targets = Vec::with_capacity(file.target_modules.len());
        for name in &file.target_modules {
            let unknown = || format(format!("target module `{name}` is unknown"));
            targets.push(TargetModule::from_name(name).ok_or_else(unknown)?);
        }
        let StateFile { rank, frozen_rank, alpha, dora, dropout, .. } = file;
        let config = LoraConfig { rank, frozen_rank, alpha, targets, dora, dropout };
        let best = (!best.is_empty()).then(|| AdapterWeights { config: config.clone(), tensors: best });
        let state = TrainingState {
            adapter: AdapterWeights { config, tensors: adapter },
            first_moments,
            second_moments,
            steps: file.optimiser_steps,
        };
        Ok(Self { state, best, progress: file.progress })
    }
}

/// Checkpoints of one training on disk, by step; only the newest two are kept.
#[derive(Debug, Clone)]
pub struct CheckpointFolder(PathBuf);

const KEPT: usize = 2;

impl CheckpointFolder {
    /// Checkpoints below `folder`, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Writes a checkpoint, removes outdated ones and returns its folder.
    ///
    /// # Errors
    /// [`CheckpointError`]; earlier checkpoints are untouched then.
    pub fn add(&self, checkpoint: &Checkpoint) -> Result<PathBuf, CheckpointError> {
        let folder = self.0.join(format!("step-{:08}", checkpoint.state.steps));
        if folder.exists() {
            return Ok(folder);
        }
        fs::create_dir_all(&self.0).map_err(|source| CheckpointError::Io { path: self.0.clone(), source })?;
        checkpoint.write(&folder)?;
        let folders = self.folders()?;
        for outdated in folders.iter().rev().skip(KEPT) {
            fs::remove_dir_all(outdated)
                .map_err(|source| CheckpointError::Io { path: outdated.clone(), source })?;
        }
        Ok(folder)
    }

    /// The newest checkpoint, if there is one.
    ///
    /// # Errors
    /// [`CheckpointError`] when it cannot be read.
    pub fn newest(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        self.folders()?.last().map(|folder| Checkpoint::read(folder)).transpose()
    }

    /// Folders of complete checkpoints, oldest first.
    fn folders(&self) -> Result<Vec<PathBuf>, CheckpointError> {
        let failed = |source| CheckpointError::Io { path: self.0.clone(), source };
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed(source)),
        };
        let mut folders = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-")) {
                folders.push(path);
            }
        }
        folders.sort();
        Ok(folders)
    }
}

#[cfg(test)]
mod tests;
