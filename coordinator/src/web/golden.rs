//! Golden datasets: the list, and the samples of one.

use axum::{
    extract::{Path, State},
    response::Response,
};
use clara_lifecycle::{
    golden::{Finding, GoldenDataset, GoldenSample, Severity},
    id::GoldenReference,
};
use maud::{Markup, html};

use super::{
    Page, PageError, Section, Visitor,
    page::{badge, fields, text},
};
use crate::{control_service::Control, driver::DriverError, figures, golden::Golden};

/// The list.
pub(super) async fn list(State(control): State<Control>, visitor: Visitor) -> Result<Response, PageError> {
    let all = control.driver.all_golden().await?;
    let body = html! {
        h1 { "Golden datasets" }
        section.card {
            @if all.is_empty() {
                p.faint { "None yet: " code { "clara golden create" } " begins one." }
            } @else {
                table {
                    thead { tr { th { "dataset" } th { "" } th.number { "samples" } th { "domain" } th.hide-small { "description" } } }
                    tbody { @for golden in &all { (row(golden)) } }
                }
            }
        }
    };
    Ok(Page::new("Golden datasets", Section::Golden).show(&visitor, &body))
}

fn row(golden: &Golden) -> Markup {
    let dataset = golden.dataset();
    // A draft is found by its id alone.
    let (link, state) = match golden {
        Golden::Draft(_) => (dataset.dataset_id.to_string(), "draft"),
        Golden::Frozen(_) => (dataset.reference().to_string(), "frozen"),
    };
    html! {
        tr {
            td { a href={ "/golden/" (link) } { (dataset.reference()) } }
            td { (badge(state)) }
            td.number { (dataset.samples.len()) }
            td { (dataset.domain) }
            td.hide-small { (figures::excerpt(&dataset.description, 120)) }
        }
    }
}

/// One dataset with its samples.
pub(super) async fn show(
    State(control): State<Control>,
    visitor: Visitor,
    Path(reference): Path<String>,
) -> Result<Response, PageError> {
    let reference: GoldenReference =
        reference.parse().map_err(|_| DriverError::UnknownGolden { reference: reference.clone() })?;
    let golden = control.driver.golden(&reference).await?;
    let dataset = golden.dataset();
    let body = html! {
        h1 { (dataset.reference()) " " (badge(if matches!(golden, Golden::Frozen(_)) { "frozen" } else { "draft" })) }
        section.card {
            @if !dataset.description.is_empty() { p.text { (dataset.description) } }
            (about(&golden, dataset))
        }
        (findings(&dataset.lint()))
        section.card.samples {
            h2 { (dataset.samples.len()) " samples" }
            @for sample in &dataset.samples { (shown(sample)) }
        }
    };
    Ok(Page::new(dataset.reference().to_string(), Section::Golden).show(&visitor, &body))
}

fn about(golden: &Golden, dataset: &GoldenDataset) -> Markup {
    let counts: Vec<String> = dataset
        .difficulty_distribution()
        .into_iter()
        .map(|(difficulty, count)| format!("{count} {difficulty}"))
        .collect();
    let frozen = match golden {
        Golden::Draft(_) => text("not yet"),
        Golden::Frozen(version) => html! {
            (version.frozen_at) " by " (version.frozen_by) ", digest " code { (version.digest) }
        },
    };
    fields(&[
        ("domain", text(dataset.domain.as_str())),
        ("difficulty", text(counts.join(", "))),
        ("made", text(format!("{} by {}", dataset.created_at, dataset.created_by))),
        ("frozen", frozen),
    ])
}

fn findings(findings: &[Finding]) -> Markup {
    html! {
        @if !findings.is_empty() {
            section.card {
                details { summary { "What `clara golden lint` finds (" (findings.len()) ")" }
                    ul { @for finding in findings {
                        li { (badge(match finding.severity { Severity::Error => "error", Severity::Warning => "warn" })) " " (finding.message) }
                    } }
                }
            }
        }
    }
}

fn shown(sample: &GoldenSample) -> Markup {
    html! {
        details id={ "sample-" (sample.sample_id) } {
            summary { (badge(sample.difficulty.as_str())) code { (sample.sample_id) } span.faint { (figures::excerpt(&sample.prompt, 110)) } }
            div.side {
                div { h3 { "Prompt" } div.text { (sample.prompt) } }
                @if let Some(context) = &sample.context { div { h3 { "Context" } div.text { (context) } } }
                div { h3 { "Expected" } div.text { (sample.expected_output) } }
            }
            @if !sample.checks.is_empty() {
                ul {
                    @for citation in &sample.checks.must_cite { li { "must cite " (citation) } }
                    @for words in &sample.checks.must_contain { li { "must contain " (words) } }
                    @for words in &sample.checks.must_not_contain { li { "must not contain " (words) } }
                }
            }
            @for (criterion, note) in &sample.criteria { p { span.faint { (criterion) ": " } (note) } }
            p.faint.small {
                @if let Some(cluster) = &sample.cluster { "cluster " (cluster) " · " }
                @for tag in &sample.tags { (tag) " · " }
                (sample.source)
            }
        }
    }
}
