//! What a handler lives in when its process is real: time passes, files are stored, notes are taken.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use clara_lifecycle::{artifact::ArtifactRef, attempt::Assignment, results::StageResult, stage::Stage};
use clara_runtime::worker::{AttemptContext, StageFailure, StageHandler};
use serde_json::Value;

use super::{Point, notes::Note, trap::Trap};
use crate::faults::handler::{POISON, ScriptedHandler, Surroundings};

/// How long a step takes.
const STEP: Duration = Duration::from_millis(50);
/// The step in which a process is in the middle of a stage.
const MIDDLE: u64 = 2;
/// Files of an artifact beside the one with its content.
const MORE_FILES: [&str; 3] = ["part-1", "part-2", "part-3"];
const PART_BYTES: usize = 64 * 1024;

/// The process as its handlers see it.
#[derive(Debug, Clone)]
pub(super) struct RealProcess {
    trap: Trap,
    artifact_folder: PathBuf,
    begun: Arc<AtomicUsize>,
}

impl RealProcess {
    pub(super) fn new(trap: Trap, artifact_folder: PathBuf) -> Self {
        Self { trap, artifact_folder, begun: Arc::default() }
    }
}

#[async_trait]
impl Surroundings for RealProcess {
    fn begin(&self, assignment: &Assignment, first_step: u64) -> usize {
        let Assignment { job, stage, attempt, fence, .. } = assignment.clone();
        // Each stage has a counter of its own.
        let number = self.begun.fetch_add(1, Ordering::Relaxed) * Stage::ALL.len() + stage as usize;
        self.trap.notes.write(Note::Began { number, job, stage, attempt, fence, first_step });
        number
    }

    /// Does what the job's label says: in training every attempt panics, kills its process, or hangs.
    #[expect(clippy::panic, reason = "the panic of a handler is what is tried")]
    async fn misbehave(&self, assignment: &Assignment) -> Result<(), StageFailure> {
        let poison = assignment.spec.labels.get(POISON).filter(|_| assignment.stage == Stage::Train);
        match poison.map(String::as_str) {
            Some("panic") => panic!("poison"),
            Some("kill") => {
                self.trap.die();
                std::future::pending().await
            }
            Some("hang") => std::future::pending().await,
            _ => Ok(()),
        }
    }

    async fn pass(&self) {
        tokio::time::sleep(STEP).await;
    }

    async fn step(&self, number: usize, step: u64) {
        self.trap.notes.write(Note::Step { number, step });
        if step >= MIDDLE {
            let stage = Stage::ALL.get(number % Stage::ALL.len()).copied().unwrap_or(Stage::Ingest);
            self.trap.reach(Point::MidStage, stage).await;
        }
    }

    fn end(&self, number: usize) {
        self.trap.notes.write(Note::Ended { number });
    }

    async fn store(
        &self,
        context: &AttemptContext,
        name: &str,
        text: String,
    ) -> Result<ArtifactRef, StageFailure> {
        let (folder, prefix) = (context.scratch.join(name), context.assignment.prefix(name));
        let stage = context.assignment.stage;
        let written = std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(folder.join(format!("{name}.json")), text))
            .and_then(|()| {
                MORE_FILES.iter().try_for_each(|file| std::fs::write(folder.join(file), vec![7; PART_BYTES]))
            });
        written.map_err(StageFailure::retryable)?;
        let storing = context.artifacts.put_folder(&prefix, &folder);
        if !name.starts_with("checkpoint") || !self.trap.waits_at(Point::CheckpointHalfWritten, stage) {
            return Ok(storing.await?);
        }
        let first = self.artifact_folder.join(&prefix).join(format!("{name}.json"));
        let half = async {
            while !first.exists() {
                tokio::task::yield_now().await;
            }
            self.trap.reach(Point::CheckpointHalfWritten, stage).await;
        };
        let (stored, ()) = futures::join!(storing, half);
        Ok(stored?)
    }

    async fn steps_in(
        &self,
        context: &AttemptContext,
        checkpoint: &ArtifactRef,
    ) -> Result<u64, StageFailure> {
        let folder = context.scratch.join("from");
        context.artifacts.fetch(checkpoint, &folder).await?;
        let name = checkpoint.prefix.rsplit('/').next().unwrap_or_default();
        let stored = std::fs::read(folder.join(format!("{name}.json"))).map_err(StageFailure::retryable)?;
        let held: Value = serde_json::from_slice(&stored).map_err(StageFailure::permanent)?;
        held.get("step")
            .and_then(Value::as_u64)
            .ok_or_else(|| StageFailure::permanent("a checkpoint without steps"))
    }
}

/// A scripted handler with traps at its beginning and its end.
#[derive(Debug)]
pub(super) struct TrappedHandler {
    inner: ScriptedHandler<RealProcess>,
    trap: Trap,
}

impl TrappedHandler {
    pub(super) fn new(stage: Stage, process: RealProcess) -> Self {
        let trap = process.trap.clone();
        Self { inner: ScriptedHandler { stage, surroundings: process }, trap }
    }
}

#[async_trait]
impl StageHandler for TrappedHandler {
    fn stage(&self) -> Stage {
        self.inner.stage
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        let stage = self.inner.stage;
        self.trap.reach(Point::Started, stage).await;
        let result = self.inner.run(context).await?;
        self.trap.reach(Point::ArtifactWritten, stage).await;
        Ok(result)
    }
}
