//! The gate as a stage: an ordinary handler for the ordinary worker loop.

use async_trait::async_trait;
use clara_lifecycle::{
    attempt::Assignment,
    calibration::standing_of,
    gate::{GateInput, decide},
    results::{EvaluationResult, StageResult},
    stage::Stage,
};
use clara_runtime::{
    metrics,
    worker::{AttemptContext, StageFailure, StageHandler},
};

use crate::{driver::DriverError, evidence};

/// Turns scores into a decision.
#[derive(Debug, Clone, Copy, Default)]
pub struct GateHandler;

#[async_trait]
impl StageHandler for GateHandler {
    fn stage(&self) -> Stage {
        Stage::Gate
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        let judged = evaluation_of(&context.assignment)?;
        let evaluation = evidence::evaluation(&context.artifacts, &judged.evaluation).await.map_err(
            |error| match error {
                DriverError::Artifact(error) => StageFailure::from(error),
                error => StageFailure::permanent(error),
            },
        )?;
        let standing = standing_of(evaluation.judges(), &context.assignment.calibrations);
        let state = standing.state;
        let evaluations = context.assignment.evaluations;
        let input = GateInput { standing, evaluations, ..evaluation.gate_input() };
        let report = decide(&context.assignment.spec.gate, &input);
        metrics::gate_decided(report.decision, state);
        Ok(StageResult::Gate(report))
    }
}

fn evaluation_of(assignment: &Assignment) -> Result<&EvaluationResult, StageFailure> {
    assignment
        .results
        .iter()
        .find_map(|result| match result {
            StageResult::Judge(evaluation) => Some(evaluation),
            StageResult::Ingest(_)
            | StageResult::Train(_)
            | StageResult::Generate(_)
            | StageResult::Gate(_)
            | StageResult::Rollout(_) => None,
        })
        .ok_or_else(|| StageFailure::permanent("the job has no evaluation"))
}
