//! Keeps what was fetched in the artifact store, piece by piece, so that an attempt elsewhere goes on with it.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use clara_lifecycle::{artifact::ArtifactRef, attempt::Assignment};
use clara_runtime::{
    artifacts::{ArtifactError, ArtifactStore},
    stop::{StopReason, StopSignal},
    worker::{AttemptContext, ProgressSender},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::IngestError,
    fetch::{CollectObserver, FetchProgress, Saved, SavedFile, Waiting},
    figures::{Count, Figures},
};

/// Layout of the checkpoint; one of another layout is not used.
const FORMAT: u32 = 1;
const FILE: &str = "checkpoint.json";
/// Compression that costs little time; pieces are read once or never.
const LEVEL: i32 = 1;

/// How far the fetching has come, and where the bytes of it are stored.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Checkpoint {
    format: u32,
    saved: Saved,
    parts: Vec<Part>,
}

/// Pieces that were stored together, each as a compressed file of its number.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    artifact: ArtifactRef,
    pieces: Vec<Piece>,
}

/// Some bytes of a fetched file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Piece {
    file: String,
    from: u64,
    to: u64,
    entity: Option<String>,
}

/// Stores checkpoints for one attempt and tells its progress.
#[derive(Debug)]
pub(super) struct CheckpointKeeper {
    assignment: Assignment,
    artifacts: ArtifactStore,
    folder: PathBuf,
    scratch: PathBuf,
    progress: ProgressSender,
    stop: StopSignal,
    figures: Figures,
    number: u64,
    parts: Vec<Part>,
}

impl CheckpointKeeper {
    /// A keeper of what lies in `folder`.
    pub(super) fn new(context: &AttemptContext, folder: &Path) -> Self {
        Self {
            assignment: context.assignment.clone(),
            artifacts: context.artifacts.clone(),
            folder: folder.to_owned(),
            scratch: context.scratch.join("checkpoint"),
            progress: context.progress.clone(),
            stop: context.stop.clone(),
            figures: Figures::default(),
            number: 0,
            parts: Vec::new(),
        }
    }

    /// Brings back what an earlier attempt stored, if it stored anything.
    pub(super) async fn restore(&mut self) -> Result<(), IngestError> {
        let Some(artifact) = self.assignment.checkpoint.clone() else { return Ok(()) };
        let Some(mut checkpoint) = self.read(&artifact).await? else { return Ok(()) };
        for part in &checkpoint.parts {
            if let Some(reason) = self.stop.reason() {
                return Err(IngestError::Stopped(reason));
            }
            self.artifacts.fetch(&part.artifact, &self.scratch).await.map_err(stored)?;
            for (number, piece) in part.pieces.iter().enumerate() {
                append(&self.scratch.join(name(number)), &self.folder.join(&piece.file), piece)?;
            }
            remove(&self.scratch)?;
            // Large checkpoints take their time, which is no standstill.
            self.progress.update(|_| {});
        }
        fs::create_dir_all(&self.folder).map_err(IngestError::write(&self.folder))?;
        checkpoint.saved.write(&self.folder)?;
        self.parts = checkpoint.parts;
        self.progress.update(|progress| progress.checkpoint = Some(artifact));
        Ok(())
    }

    async fn read(&self, artifact: &ArtifactRef) -> Result<Option<Checkpoint>, IngestError> {
        let bytes = match self.artifacts.read(artifact, FILE).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_retryable() => return Err(stored(error)),
            Err(error) => {
                tracing::warn!("the checkpoint cannot be used, everything is fetched anew: {error}");
                return Ok(None);
            }
        };
        match serde_json::from_slice::<Checkpoint>(&bytes) {
            Ok(checkpoint) if checkpoint.format == FORMAT => Ok(Some(checkpoint)),
            Ok(_) | Err(_) => {
                tracing::warn!("the checkpoint is of another layout; everything is fetched anew");
                Ok(None)
            }
        }
    }

    /// Writes what is new since the last checkpoint into the scratch folder.
    fn write_pieces(&mut self, saved: &Saved) -> Result<Vec<Piece>, IngestError> {
        let mut ends: BTreeMap<&str, (u64, &Option<String>)> = BTreeMap::new();
        for piece in self.parts.iter().flat_map(|part| &part.pieces) {
            ends.insert(&piece.file, (piece.to, &piece.entity));
        }
        let mut pieces = Vec::new();
        let mut replaced = Vec::new();
        for SavedFile { path, bytes, entity } in saved.sources.iter().flat_map(|source| &source.files) {
            let from = match ends.get(path.as_str()) {
                Some((end, known)) if *known == entity && end <= bytes => *end,
                Some(_) => {
                    replaced.push(path.clone());
                    0
                }
                None => 0,
            };
            if from < *bytes {
                pieces.push(Piece { file: path.clone(), from, to: *bytes, entity: entity.clone() });
            }
        }
        remove(&self.scratch)?;
        fs::create_dir_all(&self.scratch).map_err(IngestError::write(&self.scratch))?;
        for (number, piece) in pieces.iter().enumerate() {
            cut(&self.folder.join(&piece.file), piece, &self.scratch.join(name(number)))?;
        }
        for part in &mut self.parts {
            // The stored bytes stay where they are; nothing is read from them any more.
            for piece in part.pieces.iter_mut().filter(|piece| replaced.contains(&piece.file)) {
                piece.to = piece.from;
            }
        }
        Ok(pieces)
    }

    async fn store(&mut self, saved: &Saved) -> Result<ArtifactRef, IngestError> {
        self.number += 1;
        let pieces = self.write_pieces(saved)?;
        if !pieces.is_empty() {
            let prefix = self.assignment.prefix(&format!("fetched/part-{}", self.number));
            let artifact = self.artifacts.put_folder(&prefix, &self.scratch).await.map_err(stored)?;
            self.parts.push(Part { artifact, pieces });
        }
        remove(&self.scratch)?;
        fs::create_dir_all(&self.scratch).map_err(IngestError::write(&self.scratch))?;
        let checkpoint =
            Checkpoint { format: FORMAT, saved: saved.clone(), parts: std::mem::take(&mut self.parts) };
        let path = self.scratch.join(FILE);
        let bytes =
            serde_json::to_vec(&checkpoint).map_err(|error| IngestError::write(&path)(error.into()))?;
        self.parts = checkpoint.parts;
        fs::write(&path, bytes).map_err(IngestError::write(&path))?;
        let prefix = self.assignment.prefix(&format!("fetched/checkpoint-{}", self.number));
        let artifact = self.artifacts.put_folder(&prefix, &self.scratch).await.map_err(stored)?;
        remove(&self.scratch)?;
        Ok(artifact)
    }
}

#[async_trait]
impl CollectObserver for CheckpointKeeper {
    fn fetched(&self, progress: &FetchProgress<'_>) {
        self.figures.tell(&self.progress, Count::from(progress));
    }

    fn waiting(&self, waiting: &Waiting<'_>) {
        self.progress.update(|progress| progress.note = waiting.to_string());
    }

    async fn saved(&mut self, saved: &Saved) -> Result<(), IngestError> {
        if let Some(reason @ (StopReason::Cancel | StopReason::Fenced)) = self.stop.reason() {
            return Err(IngestError::Stopped(reason));
        }
        let artifact = self.store(saved).await?;
        self.progress.update(|progress| progress.checkpoint = Some(artifact));
        Ok(())
    }
}

fn name(number: usize) -> String {
    format!("{number:06}.zst")
}

fn stored(source: ArtifactError) -> IngestError {
    IngestError::Checkpoint { source }
}

fn remove(folder: &Path) -> Result<(), IngestError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(IngestError::write(folder)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Compresses a piece of `file` into `target`.
fn cut(file: &Path, piece: &Piece, target: &Path) -> Result<(), IngestError> {
    let mut source = File::open(file).map_err(IngestError::read(file))?;
    source.seek(SeekFrom::Start(piece.from)).map_err(IngestError::read(file))?;
    let target_file = File::create(target).map_err(IngestError::write(target))?;
    zstd::stream::copy_encode(source.take(piece.to - piece.from), target_file, LEVEL)
        .map_err(IngestError::write(target))
}

/// Appends a stored piece to `file`.
fn append(stored: &Path, file: &Path, piece: &Piece) -> Result<(), IngestError> {
    if piece.from == piece.to {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(IngestError::write(folder))?;
    }
    let source = File::open(stored).map_err(IngestError::read(stored))?;
    let target = OpenOptions::new().create(true).append(true).open(file).map_err(IngestError::write(file))?;
    zstd::stream::copy_decode(source, &target)
        .and_then(|()| target.sync_data())
        .map_err(IngestError::write(file))
}
