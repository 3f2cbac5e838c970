//! The overview: what goes on, who works, what was decided, what waits for a person.

use axum::{extract::State, response::Response};
use clara_lifecycle::{
    adapter::AdapterStatus,
    job::{Job, JobState},
    queue::QueueOverview,
    served::ServedTarget,
};
use maud::{Markup, html};

use super::{Page, PageError, Section, Visitor, job_words, page::badge, served};
use crate::{
    control_service::Control,
    driver::DriverError,
    figures, indexes,
    listing::JobFilter,
    presence::Presence,
    registry::{AdapterFilter, AdapterView},
};

/// Jobs and versions that a short list shows.
const SHORT: usize = 8;

/// Everything that the page shows.
struct Overview {
    counts: Vec<(&'static str, u64)>,
    queues: QueueOverview,
    workers: Vec<Presence>,
    newest: Vec<Job>,
    stuck: Vec<Job>,
    waiting: Vec<AdapterView>,
    served: Vec<ServedTarget>,
}

impl Overview {
    async fn of(control: &Control) -> Result<Self, DriverError> {
        let driver = &control.driver;
        let list = |state| JobFilter { state, limit: SHORT, ..JobFilter::default() };
        let mut waiting = driver.adapters(&AdapterFilter::default()).await?;
        waiting.retain(|view| {
            matches!(view.version.status, AdapterStatus::InReview | AdapterStatus::PendingReview)
        });
        Ok(Self {
            counts: control.jobs_by_state().await?,
            queues: driver.queue_overview(control.broker.as_ref()).await?,
            workers: driver.present().await?,
            newest: driver.jobs(list(None)).await?,
            stuck: driver.jobs(list(Some("stuck"))).await?,
            waiting,
            served: driver.served().await?,
        })
    }
}

impl Control {
    /// How many jobs are in each state.
    async fn jobs_by_state(&self) -> Result<Vec<(&'static str, u64)>, DriverError> {
        let names: Vec<String> = indexes::STATES.iter().map(|state| indexes::in_state(state)).collect();
        let sizes = self.driver.records.state.sizes(&names).await?;
        Ok(indexes::STATES.into_iter().zip(sizes).collect())
    }
}

/// The page.
pub(super) async fn show(State(control): State<Control>, visitor: Visitor) -> Result<Response, PageError> {
    let overview = Overview::of(&control).await?;
    let body = html! {
        h1 { "Overview" }
        div #counts data-live { (counts(&overview.counts)) }
        div #attention data-live { (attention(&overview)) }
        div.grid #now data-live { (newest(&overview.newest)) (workers(&overview.workers)) }
        div #served data-live { (served::card(&overview.served)) }
        div #queues data-live { (queues(&overview.queues)) }
    };
    Ok(Page::new("Overview", Section::Overview).live().show(&visitor, &body))
}

fn counts(counts: &[(&'static str, u64)]) -> Markup {
    html! {
        div.figures {
            @for (state, count) in counts {
                a href={ "/jobs?state=" (state) } { b { (count) } span { (state.replace('_', " ")) } }
            }
        }
    }
}

/// What a person should look at.
fn attention(overview: &Overview) -> Markup {
    html! {
        (served::alerts(&overview.served))
        @if !overview.waiting.is_empty() {
            section.card {
                h2 { (overview.waiting.len()) " waiting for a person" }
                ul {
                    @for view in overview.waiting.iter().take(SHORT) {
                        li {
                            a href={ "/registry/" (view.version.adapter_id) } { (view.version.adapter_id) } " "
                            (badge(view.version.status.as_str()))
                        }
                    }
                }
            }
        }
        @if !overview.stuck.is_empty() {
            section.card {
                h2 { "Stuck" }
                ul { @for job in &overview.stuck { li { (stuck(job)) } } }
            }
        }
        @if overview.queues.dead_letters.is_some_and(|letters| letters > 0) {
            p.notice.bad { (overview.queues.dead_letters.unwrap_or_default()) " messages were set aside by the broker; see `clara queue`." }
        }
    }
}

fn stuck(job: &Job) -> Markup {
    let failure = match job.state {
        JobState::Stuck { stage } => {
            job.stages.get(stage).last_failure.as_ref().map(|failure| (stage, failure))
        }
        JobState::Waiting { .. }
        | JobState::Active { .. }
        | JobState::InReview
        | JobState::Finished { .. }
        | JobState::Cancelled => None,
    };
    html! {
        a href={ "/jobs/" (job.id) } { (job.spec.domain) " " (job_words::short(&job.id)) }
        @if let Some((stage, failure)) = failure {
            " at " (stage) ": " span.faint { (figures::excerpt(&failure.message, 160)) }
        }
    }
}

fn newest(jobs: &[Job]) -> Markup {
    html! {
        section.card {
            h2 { a href="/jobs" { "Newest jobs" } }
            @if jobs.is_empty() {
                p.faint { "None yet. Submit one with " code { "clara job submit" } " or over " a href="/api" { "REST" } "." }
            } @else {
                table { tbody { @for job in jobs { (job_words::short_row(job)) } } }
            }
        }
    }
}

fn workers(workers: &[Presence]) -> Markup {
    html! {
        section.card {
            h2 { "Workers heard of lately" }
            @if workers.is_empty() {
                p.notice { "None. Jobs wait until a worker starts, e.g. with " code { "clara up" } "." }
            } @else {
                table {
                    thead { tr { th { "stage" } th { "worker" } th.number { "slots" } th.hide-small { "classes" } th.hide-small { "version" } } }
                    tbody {
                        @for worker in workers {
                            tr {
                                td { (worker.stage) }
                                td { code { (worker.worker) } }
                                td.number { (worker.slots) }
                                td.hide-small { @for class in &worker.classes { (class) " " } }
                                td.hide-small { (worker.build) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn queues(overview: &QueueOverview) -> Markup {
    let busy = overview.queues.iter().filter(|line| line.waiting + line.running + line.workers > 0);
    html! {
        section.card {
            h2 { "Queues" }
            p.faint {
                (overview.active_jobs) " of at most " (overview.max_active_jobs) " jobs are active, "
                (overview.waiting_jobs) " wait for admission. Queues without tasks and workers are left out."
            }
            table {
                thead { tr { th { "stage" } th { "class" } th { "priority" } th.number { "waiting" } th.number { "oldest" } th.number { "running" } th.number { "workers" } } }
                tbody {
                    @for line in busy {
                        tr {
                            td { (line.stage) }
                            td { (line.class) }
                            td { (line.band) }
                            td.number { (line.waiting) }
                            td.number { (line.oldest_ms.map_or_else(|| figures::NONE.to_owned(), |ms| figures::span(std::time::Duration::from_millis(ms)))) }
                            td.number { (line.running) }
                            td.number { (line.workers) }
                        }
                    }
                }
            }
        }
    }
}
