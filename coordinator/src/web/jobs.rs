//! The list of jobs, with filters and pages.

use axum::{
    extract::{Query, State},
    response::Response,
};
use maud::{Markup, html};

use super::{Page, PageError, Section, Visitor, api::ListQuery, job_words};
use crate::{control_service::Control, figures, indexes};

/// The page.
pub(super) async fn list(
    State(control): State<Control>,
    visitor: Visitor,
    Query(asked): Query<ListQuery>,
) -> Result<Response, PageError> {
    let filter = asked.filter()?;
    let size = filter.page_size()?;
    let jobs = control.driver.jobs(filter).await?;
    let next = jobs.last().filter(|_| jobs.len() == size);
    let body = html! {
        h1 { "Jobs" }
        (filters(&asked))
        section.card #jobs data-live {
            @if jobs.is_empty() {
                p.faint { "No job fits." }
            } @else {
                table {
                    thead { tr { th { "job" } th { "state" } th { "version" } th { "score" } th.hide-small { "submitted (UTC)" } } }
                    tbody {
                        @for job in &jobs {
                            tr {
                                td.id { a href={ "/jobs/" (job.id) } title=(job.id) { (job.spec.domain) " " span.faint { (job_words::short(&job.id)) } } }
                                td { (job_words::state(job)) }
                                td { @if let Some(id) = &job.adapter_id { a href={ "/registry/" (id) } { (id) } } }
                                td { (job_words::score(job)) }
                                td.faint.hide-small { (figures::time(job.submitted_at)) }
                            }
                        }
                    }
                }
            }
        }
        @if let Some(job) = next { a.button.quiet href={ "/jobs?" (asked.next(job)) } { "Older jobs" } }
    };
    Ok(Page::new("Jobs", Section::Jobs).live().show(&visitor, &body))
}

fn filters(asked: &ListQuery) -> Markup {
    html! {
        form.filter method="get" action="/jobs" {
            label { "State"
                select name="state" {
                    option value="" { "any" }
                    @for state in indexes::STATES {
                        option value=(state) selected[asked.state == state] { (state.replace('_', " ")) }
                    }
                }
            }
            label { "Domain" input name="domain" value=(asked.domain); }
            label { "Label" input name="label" value=(asked.label) placeholder="name=value"; }
            button.quiet { "Filter" }
        }
    }
}
