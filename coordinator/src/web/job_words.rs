//! Jobs in the words of the pages.

use clara_lifecycle::{
    id::JobId,
    job::{Job, JobState, StageState},
    results::StageResult,
    stage::Stage,
};
use maud::{Markup, html};

use super::page::{badge, score_bar};
use crate::{figures, indexes};

/// The end of a job's id: enough to tell it from others nearby.
pub(super) fn short(id: &JobId) -> String {
    let id = id.as_str();
    let end = id.len().checked_sub(8).and_then(|at| id.get(at..)).unwrap_or(id);
    format!("…{end}")
}

/// Where a job stands.
pub(super) fn state(job: &Job) -> Markup {
    html! {
        (badge(indexes::state_name(&job.state)))
        @match &job.state {
            JobState::Waiting { stage } | JobState::Active { stage } | JobState::Stuck { stage } => { " " span.faint { (stage) } }
            JobState::InReview | JobState::Finished { .. } | JobState::Cancelled => {}
        }
    }
}

/// The mean score of a job's version with its bounds.
pub(super) fn score(job: &Job) -> Markup {
    let mean = match job.result(Stage::Judge) {
        Some(StageResult::Judge(judged)) => judged.average_score,
        _ => None,
    };
    let bounds = match job.result(Stage::Gate) {
        Some(StageResult::Gate(report)) => report.lower_bound.zip(report.upper_bound),
        _ => None,
    };
    if mean.is_none() {
        html! { span.faint { (figures::NONE) } }
    } else {
        score_bar(mean, bounds)
    }
}

/// A job in one line.
pub(super) fn short_row(job: &Job) -> Markup {
    html! {
        tr {
            td.id { a href={ "/jobs/" (job.id) } { (job.spec.domain) " " span.faint { (short(&job.id)) } } }
            td { (state(job)) }
            td.faint.small { (figures::time(job.submitted_at)) }
        }
    }
}

/// Where a stage stands, as a name.
pub(super) fn stage_state(state: &StageState) -> &'static str {
    match state {
        StageState::Waiting => "waiting",
        StageState::Queued { .. } => "queued",
        StageState::Leased(_) => "running",
        StageState::Succeeded { .. } => "succeeded",
        StageState::Failed => "failed",
        StageState::Cancelled => "cancelled",
    }
}
