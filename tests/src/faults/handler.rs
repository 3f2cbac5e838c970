//! Handlers that only let time pass: steps, checkpoints, results in the attempt's own place, failures when told.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
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
use serde_json::json;

/// Labels of a job: what its gate decides, how many steps its training has, and how its attempts fail.
pub(crate) const DECISION: &str = "decision";
pub(super) const STEPS: &str = "steps";
pub(super) const POISON: &str = "poison";

/// Steps of a training whose job names no number, and how many lie between checkpoints.
const USUAL_STEPS: u64 = 24;
const CHECKPOINT_EVERY: u64 = 5;

/// Longer than any step of a handler that makes progress.
pub(super) const PROGRESS_WITHIN: Duration = Duration::from_secs(20);

/// What a handler lives in: a simulated process or a real one.
#[async_trait]
pub(super) trait Surroundings: Send + Sync {
    /// Notes that an attempt begins at a step. Answers the number of the note.
    fn begin(&self, assignment: &Assignment, first_step: u64) -> usize;

    /// Fails or hangs when the trial says so.
    async fn misbehave(&self, assignment: &Assignment) -> Result<(), StageFailure>;

    /// Lets the time of one step pass.
    async fn pass(&self);

    /// Waits while the process stands still.
    async fn running(&self) {}

    /// Notes a step.
    async fn step(&self, number: usize, step: u64);

    /// Notes that the attempt is over.
    fn end(&self, number: usize);

    /// Stores what an attempt made as the only file of an artifact.
    async fn store(
        &self,
        context: &AttemptContext,
        name: &str,
        text: String,
    ) -> Result<ArtifactRef, StageFailure>;

    /// The steps that a checkpoint holds.
    async fn steps_in(&self, context: &AttemptContext, checkpoint: &ArtifactRef)
    -> Result<u64, StageFailure>;
}

/// A stage's code in its surroundings.
#[derive(Debug)]
pub(super) struct ScriptedHandler<S> {
    pub(super) stage: Stage,
    pub(super) surroundings: S,
}

#[async_trait]
impl<S: Surroundings> StageHandler for ScriptedHandler<S> {
    fn stage(&self) -> Stage {
        self.stage
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        let first_step = match &context.assignment.checkpoint {
            Some(checkpoint) => self.surroundings.steps_in(&context, checkpoint).await?,
            None => 0,
        };
        let number = self.surroundings.begin(&context.assignment, first_step);
        let ended = self.steps(&context, number, first_step).await;
        self.surroundings.running().await;
        self.surroundings.end(number);
        ended
    }
}

impl<S: Surroundings> ScriptedHandler<S> {
    async fn steps(
        &self,
        context: &AttemptContext,
        number: usize,
        first_step: u64,
    ) -> Result<StageResult, StageFailure> {
        let surroundings = &self.surroundings;
        surroundings.misbehave(&context.assignment).await?;
        let steps = if self.stage == Stage::Train { training_steps(&context.assignment) } else { 3 };
        let mut told = first_step;
        for step in first_step + 1..=steps {
            let mut stop = context.stop.clone();
            tokio::select! {
                biased;
                reason = stop.stopped() => {
                    surroundings.running().await;
                    if reason == StopReason::Drain && self.stage == Stage::Train && told < step - 1 {
                        self.tell(context, step - 1, true).await?;
                    }
                    return Err(StageFailure::Stopped(reason));
                }
                () = surroundings.pass() => {}
            }
            surroundings.running().await;
            surroundings.step(number, step).await;
            let saves = self.stage == Stage::Train && step % CHECKPOINT_EVERY == 0;
            self.tell(context, step, saves).await?;
            if saves {
                told = step;
            }
        }
        self.result(context).await
    }

    async fn tell(&self, context: &AttemptContext, step: u64, saves: bool) -> Result<(), StageFailure> {
        let checkpoint = if saves {
            let name = format!("checkpoint-{step}");
            Some(self.surroundings.store(context, &name, json!({ "step": step }).to_string()).await?)
        } else {
            None
        };
        context.progress.update(|progress| {
            progress.done = step;
            if checkpoint.is_some() {
                progress.checkpoint = checkpoint;
            }
        });
        Ok(())
    }

    /// The result, with what its artifacts hold stored.
    async fn result(&self, context: &AttemptContext) -> Result<StageResult, StageFailure> {
        let assignment = &context.assignment;
        let store = |name: &'static str, text: String| self.surroundings.store(context, name, text);
        let mut made = result(assignment);
        match &mut made {
            StageResult::Ingest(made) => made.dataset = store("dataset", "{}".to_owned()).await?,
            StageResult::Train(made) => {
                made.adapter = store("adapter", "{}".to_owned()).await?;
                made.report = store("report", "{}".to_owned()).await?;
            }
            StageResult::Generate(made) => made.answers = store("answers", "{}".to_owned()).await?,
            StageResult::Judge(made) => made.evaluation = store("evaluation", evaluation(assignment)).await?,
            StageResult::Gate(_) | StageResult::Rollout(_) => {}
        }
        Ok(made)
    }
}

/// A plausible result of an attempt; the gate decides as the label `decision` of the job says, else it rejects.
pub fn result(assignment: &Assignment) -> StageResult {
    let artifact = |name| named(assignment, name);
    match assignment.stage {
        Stage::Ingest => StageResult::Ingest(DatasetResult {
            dataset: artifact("dataset"),
            documents_read: 12,
            documents_kept: 10,
            dropped: BTreeMap::new(),
            train_records: 9,
            validation_records: 1,
            source_digest: Digest::of(b"sources"),
            key: None,
            reused_from: None,
        }),
        Stage::Train => StageResult::Train(TrainingResult {
            adapter: artifact("adapter"),
            report: artifact("report"),
            base_model: "tiny".to_owned(),
            base_model_digest: Digest::of(b"tiny"),
            validation_loss_before: Some(5.0),
            validation_loss_after: Some(4.0),
            training_loss: 4.1,
            steps: training_steps(assignment),
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
            average_score: Some(score(decision(assignment))),
            pass_rate: Some(1.0),
        }),
        Stage::Gate => StageResult::Gate(report(assignment)),
        Stage::Rollout => StageResult::Rollout(RolloutResult {
            adapter_id: assignment.adapter_id.clone().unwrap_or_default(),
            previous_champion: assignment.champion.as_ref().map(|champion| champion.adapter_id.clone()),
            targets: Vec::new(),
        }),
    }
}

/// An artifact in the place of an attempt that nobody stored.
pub(super) fn named(assignment: &Assignment, name: &str) -> ArtifactRef {
    let prefix = assignment.prefix(name);
    let digest = Digest::of(prefix.as_bytes());
    ArtifactRef { files: vec![ArtifactFile { path: format!("{name}.json"), size_bytes: 2, digest }], prefix }
}

fn training_steps(assignment: &Assignment) -> u64 {
    let steps = assignment.spec.labels.get(STEPS).and_then(|steps| steps.parse().ok());
    steps.unwrap_or(USUAL_STEPS)
}

/// What a job's gate decides: as the job's label says.
fn decision(assignment: &Assignment) -> Decision {
    match assignment.spec.labels.get(DECISION).map(String::as_str) {
        Some("approve") => Decision::Approve,
        Some("review") => Decision::Review,
        _ => Decision::Reject,
    }
}

/// A mean score (0–100) that leads to a decision.
fn score(decision: Decision) -> f64 {
    match decision {
        Decision::Approve => 90.0,
        Decision::Review => 80.0,
        Decision::Reject | Decision::Inconclusive | Decision::Error => 10.0,
    }
}

fn report(assignment: &Assignment) -> GateReport {
    GateReport {
        decision: decision(assignment),
        reasons: Vec::new(),
        mode: GateMode::Point,
        mean: Some(score(decision(assignment))),
        lower_bound: None,
        upper_bound: None,
        scored: 30,
        unscored: 0,
        pass_rate: Some(1.0),
        champion_delta: None,
        evidence: clara_lifecycle::gate::GateEvidence::default(),
    }
}

/// An `evaluation.json` of three samples that leads the real gate to the job's decision.
pub(crate) fn evaluation(assignment: &Assignment) -> String {
    let score = score(decision(assignment));
    let criteria = ["accuracy", "relevance", "style", "completeness", "coherence"];
    let criteria: BTreeMap<_, _> = criteria.into_iter().map(|criterion| (criterion, score / 10.0)).collect();
    let adapter_id = assignment.adapter_id.clone().unwrap_or_default();
    let result = |number: usize| {
        json!({
            "sample_id": format!("sample-{number}"), "adapter_id": adapter_id, "prompt": "?",
            "adapter_output": "!", "expected_output": "!", "overall_score": score,
            "criteria_scores": criteria, "judge_reasoning": "", "passed": score >= 70.0,
            "evaluated_at": "2026-01-01T00:00:00Z", "judge_model": "scripted",
        })
    };
    let results: Vec<_> = (0..3).map(result).collect();
    let digest = Digest::of(b"scripted");
    json!({
        "format": 1,
        "summary": {
            "total_samples": 3, "scored": 3, "unscored": 0, "passed": 3, "failed": 0, "pass_rate": 100.0,
            "average_score": score, "min_score": score, "max_score": score, "criteria_averages": criteria,
            "adapter_id": adapter_id, "golden_dataset_id": assignment.golden.reference,
            "evaluated_at": "2026-01-01T00:00:00Z", "knowledge_gaps_detected": 0,
        },
        "results": results,
        "knowledge_gaps": [],
        "judge": {
            "judge_id": "scripted", "model": "scripted", "url": "http://127.0.0.1", "rubric_version": "de-1",
            "rubric_digest": digest, "prompt_digest": digest, "calibrated": true,
        },
        "unscored": [],
        "champion": null,
    })
    .to_string()
}
