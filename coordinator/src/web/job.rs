//! One job: stages, progress, curve, decision, events, log, and what can be done with it.

mod timeline;

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use clara_lifecycle::{
    gate::GateReport,
    id::JobId,
    job::{Event, Job, JobEvent, JobState, StageState},
    queue::Explanation,
    results::StageResult,
    stage::Stage,
    time::Timestamp,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    Page, PageError, Section, SignedForm, Visitor, job_words,
    page::{badge, fields, folded, score_bar, text},
};
use crate::{
    control_service::Control,
    driver::DriverError,
    figures,
    records::{from_json, job_stream},
    words,
};

/// Events read at a time.
const PAGE: usize = 500;

/// What happened to a job, heartbeats aside, and the number of the last event of all.
pub(super) struct History {
    events: Vec<(Timestamp, JobEvent)>,
    last: u64,
}

#[derive(Deserialize)]
struct Kind<'a> {
    event: &'a str,
}

impl History {
    async fn of(control: &Control, job: &JobId) -> Result<Self, DriverError> {
        let stream = job_stream(job);
        let mut history = Self { events: Vec::new(), last: 0 };
        loop {
            let page = control.driver.records.state.events(&stream, history.last, PAGE).await?;
            for event in &page {
                history.last = event.number;
                // Heartbeats are many and large, and the lease tells the newest one.
                let Kind { event: kind } = serde_json::from_str(&event.body).map_err(|error| {
                    DriverError::Record { key: stream.clone(), reason: error.to_string() }
                })?;
                if kind != "progressed" {
                    history.events.push((event.at, from_json(&stream, &event.body)?));
                }
            }
            if page.len() < PAGE {
                return Ok(history);
            }
        }
    }
}

/// The page.
pub(super) async fn show(
    State(control): State<Control>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let job = control.job(&id).await?;
    let history = History::of(&control, &job.id).await?;
    let explanation = control.driver.explain(&job.id).await?;
    let follows = !job.is_at_rest();
    let api = format!("/api/v1/jobs/{}", job.id);
    let events = follows.then(|| format!("{api}/events/stream?after={}", history.last));
    let body = html! {
        h1 data-events=[events] { (job.spec.domain) " " span.faint { (job.id) } }
        div #head data-live { (head(&job, &explanation)) }
        section.card #stages data-live {
            (stages(&job))
            (timeline::draw(&timeline::attempts(&history.events), explanation.at))
        }
        div #decision data-live { @if let Some(report) = decision(&job) { (decided(report)) } }
        (curve(&job, &api))
        section.card {
            h2 { "Actions" }
            (actions(&job, &visitor))
        }
        section.card #events data-live { (event_log(&history)) }
        section.card {
            details #log-fold {
                summary { "Log" }
                div.log.code data-log={ (api) "/log/stream" } role="log" aria-label="Log of the attempts" tabindex="0" {
                    noscript { a href={ (api) "/log" } { "The log as JSON" } }
                }
            }
        }
        section.card { h2 { "Specification" } (specification(&job)) }
    };
    Ok(Page::new(format!("Job {}", job_words::short(&job.id)), Section::Jobs).show(&visitor, &body))
}

fn head(job: &Job, explanation: &Explanation) -> Markup {
    let why = words::standing::of(&job.id, &explanation.standing, explanation.at);
    html! {
        p {
            (job_words::state(job)) " "
            @if let Some(id) = &job.adapter_id { a href={ "/registry/" (id) } { (id) } " " }
            span.faint { "submitted " (figures::time(job.submitted_at)) " UTC, changed " (figures::time(job.changed_at)) " UTC" }
        }
        @if !matches!(job.state, JobState::Finished { .. }) {
            p.notice.bad[matches!(job.state, JobState::Stuck { .. })] { @for line in &why { span.text { (line) } br; } }
        }
    }
}

fn stages(job: &Job) -> Markup {
    html! {
        h2 { "Stages" }
        ol.stages {
            @for stage in Stage::ALL {
                @let record = job.stages.get(stage);
                li {
                    b { (stage) }
                    (badge(job_words::stage_state(&record.state)))
                    @if record.attempt.0 > 1 { " " span.faint.small { "attempt " (record.attempt) } }
                    @if let StageState::Leased(lease) = &record.state {
                        @let progress = &lease.progress;
                        @if let Some(total) = progress.total {
                            progress max=(total) value=(progress.done) aria-label={ "Progress of " (stage) } {}
                        }
                        div.small.faint {
                            (progress.done) @if let Some(total) = progress.total { " of " (total) } " " (progress.unit)
                            @let figures = words::figures(progress);
                            @if !figures.is_empty() { br; (figures) }
                            @if !progress.note.is_empty() { br; (progress.note) }
                        }
                    }
                }
            }
        }
    }
}

fn decision(job: &Job) -> Option<&GateReport> {
    match job.result(Stage::Gate) {
        Some(StageResult::Gate(report)) => Some(report),
        _ => None,
    }
}

/// What the gate said, with its reasons.
pub(super) fn decided(report: &GateReport) -> Markup {
    html! {
        section.card {
            h2 { "Decision " (badge(report.decision.as_str())) }
            p {
                (score_bar(report.mean, report.lower_bound.zip(report.upper_bound)))
                " " span.faint {
                    (report.scored) " scored, " (report.unscored) " unscored, "
                    (figures::percent(report.pass_rate)) " pass, rule " (report.mode)
                }
            }
            @if let Some(delta) = &report.champion_delta {
                p { "Against the champion: " b { (format!("{:+.1}", delta.mean)) }
                    " (" (format!("{:+.1} to {:+.1}", delta.lower_bound, delta.upper_bound)) ")" }
            }
            ul { @for reason in &report.reasons { li { code { (reason.code) } " " (reason.text) } } }
        }
    }
}

/// The drawing is loaded again whenever the training has gone on.
fn curve(job: &Job, api: &str) -> Markup {
    let train = &job.stages.get(Stage::Train).state;
    let done = match train {
        StageState::Leased(lease) => lease.progress.done,
        StageState::Succeeded { fence, .. } => fence.0,
        StageState::Waiting | StageState::Queued { .. } | StageState::Failed | StageState::Cancelled => 0,
    };
    html! {
        div #curve data-live {
            @if done > 0 {
                section.card {
                    h2 { "Training" }
                    img.curve src={ (api) "/curve.svg?done=" (done) } width="880" height="600"
                        alt="Loss and learning rate over the steps of the training";
                }
            }
        }
    }
}

fn actions(job: &Job, visitor: &Visitor) -> Markup {
    let is_over = matches!(job.state, JobState::Finished { .. } | JobState::Cancelled);
    html! {
        @if !is_over {
            form.inline method="post" action={ "/jobs/" (job.id) "/cancel" } data-confirm="Cancel this job?" {
                (visitor.token_field())
                button.danger { "Cancel the job" }
            }
        }
        @if job.is_at_rest() {
            form.inline method="post" action={ "/jobs/" (job.id) "/retry" } {
                (visitor.token_field())
                label { "Retry from"
                    select name="from" {
                        option value="" { "the stage that stopped it" }
                        @for stage in Stage::ALL { option { (stage) } }
                    }
                }
                button.quiet { "Retry" }
            }
        }
    }
}

fn event_log(history: &History) -> Markup {
    html! {
        details #event-log {
            summary { "Events (" (history.events.len()) ", progress left out)" }
            table {
                thead { tr { th { "time (UTC)" } th { "event" } } }
                tbody {
                    @for (at, event) in history.events.iter().rev() {
                        tr { td.id.faint { (figures::time(*at)) } td { span.text { (told(event)) } } }
                    }
                }
            }
        }
    }
}

fn told(event: &JobEvent) -> String {
    match event {
        JobEvent::Submitted => "submitted".to_owned(),
        JobEvent::Queued { stage, attempt, .. } => format!("{stage}: attempt {attempt} queued"),
        JobEvent::Claimed { stage, attempt, worker } => {
            format!("{stage}: attempt {attempt} claimed by {worker}")
        }
        JobEvent::Stuck { stage, message } => format!("{stage}: stuck: {message}"),
        JobEvent::Reviewed { reason, .. } => {
            format!("{}: {reason}", words::of_event(event).unwrap_or_default())
        }
        JobEvent::Finished { outcome } => format!("over: {outcome}"),
        JobEvent::Progressed { .. }
        | JobEvent::Succeeded { .. }
        | JobEvent::Failed { .. }
        | JobEvent::HandedBack { .. }
        | JobEvent::Registered { .. }
        | JobEvent::InReview
        | JobEvent::Cancelled
        | JobEvent::BudgetRaised { .. }
        | JobEvent::Retried { .. } => words::of_event(event).unwrap_or_default(),
    }
}

fn specification(job: &Job) -> Markup {
    let spec = &job.shown().spec;
    let method = format!("{}, rank {}, alpha {}", spec.method, spec.training.rank, spec.training.alpha);
    let golden = html! { a href={ "/golden/" (job.golden.reference) } { (job.golden.reference) } " " code.faint { (job.golden.digest.short()) } };
    let labels: Vec<String> = spec.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    html! {
        (fields(&[
            ("query", text(spec.ingest.query.as_deref().unwrap_or(figures::NONE))),
            ("sources", text(spec.ingest.sources.join(", "))),
            ("golden dataset", golden),
            ("base model", text(&spec.base_model)),
            ("method", text(method)),
            ("priority", text(spec.priority.to_string())),
            ("resource class", text(spec.resource_class.as_str())),
            ("labels", text(labels.join(", "))),
        ]))
        // A specification that was stored can be written again.
        (folded("Everything as JSON", &serde_json::to_string_pretty(&**spec).unwrap_or_default()))
    }
}

pub(super) async fn cancel(
    State(control): State<Control>,
    Path(id): Path<String>,
    SignedForm(Nothing {}): SignedForm<Nothing>,
) -> Result<Response, PageError> {
    let job = control.job(&id).await?.id;
    control.driver.apply(&job, Event::CancelRequested).await?;
    Ok(Redirect::to(&format!("/jobs/{job}")).into_response())
}

/// A form without fields.
#[derive(Debug, Deserialize)]
pub(super) struct Nothing {}

/// The stage of a form; empty for the one that stopped the job.
#[derive(Debug, Deserialize)]
pub(super) struct Retry {
    #[serde(default)]
    from: String,
}

pub(super) async fn retry(
    State(control): State<Control>,
    Path(id): Path<String>,
    SignedForm(Retry { from }): SignedForm<Retry>,
) -> Result<Response, PageError> {
    let job = control.job(&id).await?.id;
    let from = Some(from).filter(|from| !from.is_empty()).map(|from| from.parse::<Stage>());
    let from = from.transpose().map_err(|error| DriverError::Invalid(error.to_string()))?;
    control.driver.apply(&job, Event::RetryRequested { from }).await?;
    Ok(Redirect::to(&format!("/jobs/{job}")).into_response())
}
