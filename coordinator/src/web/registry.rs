//! The registry: families with their versions.

mod version;

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use clara_lifecycle::adapter::Family;
use maud::{Markup, html};

use super::{
    Page, PageError, Section, Visitor,
    page::{badge, score_bar},
};
use crate::{
    control_service::Control,
    figures,
    registry::{AdapterFilter, AdapterView},
};

pub(super) use version::show;

/// The page.
pub(super) async fn list(State(control): State<Control>, visitor: Visitor) -> Result<Response, PageError> {
    let mut families: BTreeMap<String, Vec<AdapterView>> = BTreeMap::new();
    for view in control.driver.adapters(&AdapterFilter::default()).await? {
        let family = Family::id_of(&view.version.adapter_id).unwrap_or(&view.version.adapter_id).to_owned();
        families.entry(family).or_default().push(view);
    }
    let body = html! {
        h1 { "Registry" }
        @if families.is_empty() { p.faint { "No version yet: a training that is accepted registers one." } }
        @for (family, versions) in &families {
            section.card id={ "family-" (family) } { h2 { (family) } (table(versions)) }
        }
    };
    Ok(Page::new("Registry", Section::Registry).show(&visitor, &body))
}

/// The mean of a version and its one-sided bounds, as the gate had them.
fn score(view: &AdapterView) -> Markup {
    let report = view.version.evaluation.as_ref().map(|evaluation| &evaluation.report);
    let bounds = report.and_then(|report| report.lower_bound.zip(report.upper_bound));
    score_bar(view.version.metrics.get("llm_judge_score").copied(), bounds)
}

fn table(versions: &[AdapterView]) -> Markup {
    html! {
        table {
            thead { tr { th { "version" } th { "status" } th { "score" } th.hide-small { "pass" } th.hide-small { "base model" } th.hide-small { "registered" } } }
            tbody {
                @for view in versions {
                    @let version = &view.version;
                    tr {
                        td.id {
                            a href={ "/registry/" (version.adapter_id) } { (version.version) }
                            @for alias in &view.aliases { " " (badge(alias)) }
                        }
                        td { (badge(version.status.as_str())) }
                        td { (score(view)) }
                        td.hide-small { (figures::percent(version.metrics.get("pass_rate").map(|rate| rate / 100.0))) }
                        td.hide-small { (figures::excerpt(&version.base_model, 40)) }
                        td.faint.hide-small { (version.created_at) }
                    }
                }
            }
        }
    }
}
