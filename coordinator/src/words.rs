//! The words for progress and events, and why a job is where it is.

use std::time::Duration;

use clara_lifecycle::{
    attempt::Progress,
    counted::counted,
    id::Attempt,
    job::{JobEvent, Outcome, Verdict},
    results::StageResult,
    stage::Stage,
};

use crate::figures;

pub mod standing;

/// The step under which people know a stage.
pub fn step(stage: Stage) -> &'static str {
    match stage {
        Stage::Ingest => "1/5 stream training data",
        Stage::Train => "2/5 train",
        Stage::Generate => "4/5 evaluate: answer",
        Stage::Judge => "4/5 evaluate: judge",
        Stage::Gate => "5/5 review and approve: gate",
        Stage::Rollout => "5/5 review and approve: rollout",
    }
}

/// How far a stage is, in one line that begins with the name of its step.
pub fn of_progress(step: &str, progress: &Progress, total: u64) -> String {
    let done = progress.done.min(total);
    let percent = done * 100 / total;
    let mut text = format!("{step}: {percent} % ({done} of {total} {})", progress.unit);
    let figures = figures(progress);
    if !figures.is_empty() {
        text = format!("{text}, {figures}");
    }
    text
}

/// The figures of the moment that people look for.
pub fn figures(progress: &Progress) -> String {
    let figure = |name: &str| progress.figures.get(name).copied().filter(|value| value.is_finite());
    let mut parts = Vec::new();
    if let Some(loss) = figure("loss") {
        parts.push(format!("loss {loss:.3}"));
    }
    if let Some(loss) = figure("validation_loss") {
        parts.push(format!("validation loss {loss:.3}"));
    }
    if let Some(speed) = figure("tokens_per_second") {
        parts.push(format!("{speed:.0} tokens/s"));
    }
    if let Some(speed) = figure("documents_per_second") {
        parts.push(format!("{speed:.0} documents/s"));
    }
    if let Some(left) = figure("seconds_left").and_then(|left| Duration::try_from_secs_f64(left).ok()) {
        parts.push(format!("{} left", figures::span(left)));
    }
    parts.join(", ")
}

/// What an event means to a person; `None` for what needs no word.
pub fn of_event(event: &JobEvent) -> Option<String> {
    match event {
        JobEvent::Submitted
        | JobEvent::Queued { .. }
        | JobEvent::Progressed { .. }
        | JobEvent::Finished {
            outcome: Outcome::Approved | Outcome::Rejected | Outcome::Inconclusive | Outcome::Error,
        } => None,
        JobEvent::Claimed { stage, attempt, .. } => {
            let again =
                if *attempt == Attempt::FIRST { String::new() } else { format!(" (attempt {attempt})") };
            Some(format!("{} …{again}", step(*stage)))
        }
        JobEvent::Succeeded { result } => Some(of_result(result)),
        JobEvent::Failed { stage, attempt, message } => {
            Some(format!("{}: attempt {attempt} failed: {message}", step(*stage)))
        }
        JobEvent::HandedBack { stage, .. } => Some(format!("{}: saved and handed back", step(*stage))),
        JobEvent::Stuck { stage, .. } => Some(format!("{}: the job is stuck here", step(*stage))),
        JobEvent::Registered { adapter_id } => Some(format!("3/5 register: {adapter_id}")),
        JobEvent::InReview => Some("5/5 review and approve: a person decides".to_owned()),
        JobEvent::Reviewed { verdict, actor, .. } => {
            let verdict = match verdict {
                Verdict::Approve => "approved",
                Verdict::Reject => "rejected",
            };
            Some(format!("5/5 review and approve: {verdict} by {actor}"))
        }
        JobEvent::Cancelled => Some("the job was cancelled".to_owned()),
        JobEvent::BudgetRaised { most } => Some(format!("the judge may spend {most} from now on")),
        JobEvent::Retried { from } => Some(format!("{}: the job goes on from here", step(*from))),
    }
}

fn of_result(result: &StageResult) -> String {
    let text = match result {
        StageResult::Ingest(dataset) => {
            let taken = dataset
                .reused_from
                .as_ref()
                .map(|job| format!(", taken from {job}: sources and options are the same"));
            let (kept, read) = (dataset.documents_kept, dataset.documents_read);
            format!("{kept} of {} kept{}", counted(read, "document"), taken.unwrap_or_default())
        }
        StageResult::Train(training) => format!(
            "{}, loss {:.3}, validation loss {} → {}",
            counted(training.steps, "step"),
            training.training_loss,
            figures::number(training.validation_loss_before, 3),
            figures::number(training.validation_loss_after, 3)
        ),
        StageResult::Generate(answers) => format!(
            "loss on expected outputs {:.3}, base model {:.3}",
            answers.candidate_nll, answers.base_nll
        ),
        StageResult::Judge(evaluation) => format!(
            "score {}, {} of {} scored",
            figures::number(evaluation.average_score, 1),
            evaluation.samples - evaluation.unscored.min(evaluation.samples),
            counted(evaluation.samples, "sample")
        ),
        StageResult::Gate(report) => report.decision.to_string(),
        StageResult::Rollout(rollout) => format!("{} is the champion", rollout.adapter_id),
    };
    format!("{}: {text}", step(result.stage()))
}
