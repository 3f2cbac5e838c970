//! What a handler lives in when its process is simulated.

use async_trait::async_trait;
use clara_lifecycle::{artifact::ArtifactRef, attempt::Assignment};
use clara_runtime::worker::{AttemptContext, StageFailure};

use super::{
    handler::{Surroundings, named},
    journal::Journal,
    node::Node,
    weather::Sky,
};

/// A simulated process as its handlers see it.
#[derive(Debug)]
pub(super) struct SimulatedProcess {
    pub(super) worker: String,
    pub(super) node: Node,
    pub(super) sky: Sky,
    pub(super) journal: Journal,
}

#[async_trait]
impl Surroundings for SimulatedProcess {
    fn begin(&self, assignment: &Assignment, first_step: u64) -> usize {
        self.journal.begin(assignment, &self.worker, first_step)
    }

    /// Fails or hangs when the weather says so.
    async fn misbehave(&self, _assignment: &Assignment) -> Result<(), StageFailure> {
        if !self.sky.strikes(self.sky.now().bad_attempts) {
            return Ok(());
        }
        match self.sky.below(3) {
            0 => Err(StageFailure::retryable("a fault of the simulation")),
            // Alive and without progress: the progress deadline ends it.
            1 => std::future::pending().await,
            _ => Err(StageFailure::permanent("a fault of the simulation that stays")),
        }
    }

    async fn pass(&self) {
        self.sky.pass(50, 900).await;
    }

    async fn running(&self) {
        self.node.running().await;
    }

    async fn step(&self, number: usize, step: u64) {
        self.journal.step(number, step);
    }

    fn end(&self, number: usize) {
        self.journal.end(number);
    }

    /// Names what would be stored.
    async fn store(
        &self,
        context: &AttemptContext,
        name: &str,
        _text: String,
    ) -> Result<ArtifactRef, StageFailure> {
        Ok(named(&context.assignment, name))
    }

    async fn steps_in(
        &self,
        _context: &AttemptContext,
        checkpoint: &ArtifactRef,
    ) -> Result<u64, StageFailure> {
        let steps = checkpoint.prefix.rsplit_once("checkpoint-").and_then(|(_, steps)| steps.parse().ok());
        Ok(steps.unwrap_or_default())
    }
}
