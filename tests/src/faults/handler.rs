//! Handlers that only let time pass: steps, checkpoints, results in the attempt's own place, failures when told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use clara_lifecycle::{
    artifact::{ArtifactFile, ArtifactRef},
    attempt::Assignment,
    digest::Digest,
    gate::{Decision, GateMode, GateReport},
    results::{AnswersResult, DatasetResult, EvaluationResult, RolloutResult, StageResult, TrainingResult},
    stage::Stage,
};
use clara_runtime::{
    stop::StopReason,
    worker::{AttemptContext, StageFailure, StageHandler},
};

use super::{journal::Journal, node::Node, weather::Sky};

/// Steps of a training, and how many lie between checkpoints.
const STEPS: u64 = 24;
const CHECKPOINT_EVERY: u64 = 5;

/// A stage's code in a simulated process.
#[derive(Debug)]
pub(super) struct ScriptedHandler {
    pub(super) stage: Stage,
    pub(super) worker: String,
    pub(super) node: Node,
    pub(super) sky: Sky,
    pub(super) journal: Journal,
}

#[async_trait]
impl StageHandler for ScriptedHandler {
    fn stage(&self) -> Stage {
        self.stage
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        let first_step = context.assignment.checkpoint.as_ref().map_or(0, steps_in);
        let number = self.journal.begin(&context.assignment, &self.worker, first_step);
        let ended = self.steps(&context, number, first_step).await;
        self.node.running().await;
        self.journal.end(number);
        ended
    }
}

impl ScriptedHandler {
    async fn steps(
        &self,
        context: &AttemptContext,
        number: usize,
        first_step: u64,
    ) -> Result<StageResult, StageFailure> {
        self.misbehave().await?;
        let steps = if self.stage == Stage::Train { STEPS } else { 3 };
        let mut told = first_step;
        for step in first_step + 1..=steps {
            let mut stop = context.stop.clone();
            tokio::select! {
                biased;
                reason = stop.stopped() => {
                    self.node.running().await;
                    if reason == StopReason::Drain && self.stage == Stage::Train && told < step - 1 {
                        tell(context, step - 1, true);
                    }
                    return Err(StageFailure::Stopped(reason));
                }
                () = self.sky.pass(50, 900) => {}
            }
            self.node.running().await;
            self.journal.step(number, step);
            let saves = self.stage == Stage::Train && step % CHECKPOINT_EVERY == 0;
            tell(context, step, saves);
            if saves {
                told = step;
            }
        }
        Ok(result(&context.assignment))
    }

    /// Fails, panics or hangs when the weather says so.
    async fn misbehave(&self) -> Result<(), StageFailure> {
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
}

fn tell(context: &AttemptContext, step: u64, saves: bool) {
    let checkpoint = saves.then(|| artifact(&context.assignment, &format!("checkpoint-{step}")));
    context.progress.update(|progress| {
        progress.done = step;
        if checkpoint.is_some() {
            progress.checkpoint = checkpoint;
        }
    });
}

/// The steps that a checkpoint holds.
fn steps_in(checkpoint: &ArtifactRef) -> u64 {
    let steps = checkpoint.prefix.rsplit_once("checkpoint-").and_then(|(_, steps)| steps.parse().ok());
    steps.unwrap_or_default()
}

fn artifact(assignment: &Assignment, name: &str) -> ArtifactRef {
    let prefix = assignment.prefix(name);
    let digest = Digest::of(prefix.as_bytes());
    ArtifactRef { files: vec![ArtifactFile { path: format!("{name}.json"), size_bytes: 2, digest }], prefix }
}

/// What a job's gate decides: as the job's label says.
fn decision(assignment: &Assignment) -> Decision {
    match assignment.spec.labels.get("decision").map(String::as_str) {
        Some("approve") => Decision::Approve,
        Some("review") => Decision::Review,
        _ => Decision::Reject,
    }
}

/// A plausible result of an attempt; the gate decides as the label `decision` of the job says, else it rejects.
pub fn result(assignment: &Assignment) -> StageResult {
    let artifact = |name| artifact(assignment, name);
    match assignment.stage {
        Stage::Ingest => StageResult::Ingest(DatasetResult {
            dataset: artifact("dataset"),
            documents_read: 12,
            documents_kept: 10,
            dropped: BTreeMap::new(),
            train_records: 9,
            validation_records: 1,
            source_digest: Digest::of(b"sources"),
        }),
        Stage::Train => StageResult::Train(TrainingResult {
            adapter: artifact("adapter"),
            report: artifact("report"),
            base_model: "tiny".to_owned(),
            base_model_digest: Digest::of(b"tiny"),
            validation_loss_before: Some(5.0),
            validation_loss_after: Some(4.0),
            training_loss: 4.1,
            steps: STEPS,
            tokens: 1000,
        }),
        Stage::Generate => StageResult::Generate(AnswersResult {
            answers: artifact("answers"),
            candidate_nll: 2.0,
            champion_nll: None,
            base_nll: 2.5,
        }),
        Stage::Judge => StageResult::Judge(EvaluationResult {
            evaluation: artifact("evaluation"),
            samples: 30,
            unscored: 0,
            average_score: Some(88.0),
            pass_rate: Some(1.0),
        }),
        Stage::Gate => StageResult::Gate(GateReport {
            decision: decision(assignment),
            reasons: Vec::new(),
            mode: GateMode::Point,
            mean: Some(88.0),
            lower_bound: None,
            upper_bound: None,
            scored: 30,
            unscored: 0,
            pass_rate: Some(1.0),
            champion_delta: None,
        }),
        Stage::Rollout => StageResult::Rollout(RolloutResult {
            adapter_id: assignment.adapter_id.clone().unwrap_or_default(),
            previous_champion: assignment.champion.as_ref().map(|champion| champion.adapter_id.clone()),
        }),
    }
}

/// A handler as the worker loop takes it.
pub(super) fn handler(handler: ScriptedHandler) -> Arc<dyn StageHandler> {
    Arc::new(handler)
}

/// Longer than any step of a handler that makes progress.
pub(super) const PROGRESS_WITHIN: Duration = Duration::from_secs(20);
