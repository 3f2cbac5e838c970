//! Writes what the judge stage leaves: `evaluation.json` and `replies.jsonl`.

use std::path::Path;

use clara_lifecycle::{
    results::{EvaluationResult, StageResult},
    score::Evaluation,
};
use clara_runtime::worker::{AttemptContext, StageFailure};

use super::input::store_failure;
use crate::score::KeptReply;

/// Stores both files and sums them up.
///
/// # Errors
/// A retryable failure when there is no room for them, or the store cannot be reached.
pub(super) async fn store(
    context: &AttemptContext,
    evaluation: &Evaluation,
    replies: &[KeptReply],
) -> Result<StageResult, StageFailure> {
    let folder = context.scratch.join("evaluation");
    tokio::fs::create_dir_all(&folder).await.map_err(|error| cannot_write(&folder, &error))?;
    let mut lines = Vec::new();
    for reply in replies {
        serde_json::to_writer(&mut lines, reply).map_err(StageFailure::permanent)?;
        lines.push(b'\n');
    }
    let summary = serde_json::to_vec_pretty(evaluation).map_err(StageFailure::permanent)?;
    for (name, content) in [("evaluation.json", summary), ("replies.jsonl", lines)] {
        let path = folder.join(name);
        tokio::fs::write(&path, content).await.map_err(|error| cannot_write(&path, &error))?;
    }
    let prefix = context.assignment.prefix("evaluation");
    let stored = context.artifacts.put_folder(&prefix, &folder).await.map_err(store_failure)?;
    let summary = &evaluation.summary;
    Ok(StageResult::Judge(EvaluationResult {
        evaluation: stored,
        samples: summary.total_samples,
        unscored: summary.unscored,
        average_score: summary.average_score,
        pass_rate: summary.pass_rate.map(|per_cent| per_cent / 100.0),
    }))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> StageFailure {
    StageFailure::retryable(format!("cannot write {}: {error}; free some space, then repeat", path.display()))
}
