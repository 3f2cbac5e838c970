//! Handlers that do nothing, for the five stages that a rejected job passes.

use std::{process::ExitCode, sync::Arc};

use async_trait::async_trait;
use clara_lifecycle::{id::JobId, results::StageResult, stage::Stage};
use clara_runtime::{
    service::{WorkerArgs, run_workers},
    worker::{AttemptContext, StageFailure, StageHandler},
};
use clara_tests::faults::result;
use tokio::sync::mpsc;

/// The stages that a job passes whose gate rejects.
const STAGES: [Stage; 5] = [Stage::Ingest, Stage::Train, Stage::Generate, Stage::Judge, Stage::Gate];

/// Gives a plausible result at once.
struct Noop {
    stage: Stage,
    /// Told each job that comes to its last stage.
    last: Option<mpsc::UnboundedSender<JobId>>,
}

#[async_trait]
impl StageHandler for Noop {
    fn stage(&self) -> Stage {
        self.stage
    }

    fn may_block(&self) -> bool {
        false
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        if let (Stage::Gate, Some(last)) = (self.stage, &self.last) {
            // Nobody listens once the load has ended.
            drop(last.send(context.assignment.job.clone()));
        }
        Ok(result(&context.assignment))
    }
}

/// A handler for each stage.
pub(crate) fn handlers(last: Option<&mpsc::UnboundedSender<JobId>>) -> Vec<Arc<dyn StageHandler>> {
    let handler = |stage| Arc::new(Noop { stage, last: last.cloned() }) as Arc<dyn StageHandler>;
    STAGES.map(handler).into()
}

/// Runs until a signal comes.
pub(crate) fn run(args: &WorkerArgs) -> ExitCode {
    run_workers("noop-worker", args, |_| Ok(handlers(None)))
}
