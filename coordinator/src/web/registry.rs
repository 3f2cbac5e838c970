//! The registry: families with their versions.

mod audit;
mod card;
mod diff;
mod version;

use std::collections::BTreeMap;

use axum::{Router, extract::State, response::Response, routing::get};
use clara_lifecycle::adapter::Family;
use maud::{Markup, html};

use super::{
    Page, PageError, Section, Site, Visitor,
    page::{badge, score_bar},
};
use crate::{
    control_service::Control,
    figures,
    registry::{AdapterFilter, AdapterView},
};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/registry", get(list))
        .route("/registry/audit", get(audit::show))
        .route("/registry/diff", get(diff::show))
        .route("/registry/{adapter}", get(version::show))
        .route("/registry/{adapter}/card", get(card::show))
}

async fn list(State(control): State<Control>, visitor: Visitor) -> Result<Response, PageError> {
    let families = families(&control).await?;
    let body = html! {
        h1 { "Registry" }
        p { a href="/registry/audit" { "Audit log, verified" } }
        @if families.is_empty() { p.faint { "No version yet: a training that is accepted registers one." } }
        @for (family, versions) in &families {
            section.card id={ "family-" (family) } {
                h2 { (family) }
                (table(versions))
                @if let [.., before, newest] = versions.as_slice() {
                    (chooser(versions, &before.version.adapter_id, &newest.version.adapter_id))
                }
            }
        }
    };
    Ok(Page::new("Registry", Section::Registry).show(&visitor, &body))
}

/// All versions by their families, oldest first.
async fn families(control: &Control) -> Result<BTreeMap<String, Vec<AdapterView>>, PageError> {
    let mut families: BTreeMap<String, Vec<AdapterView>> = BTreeMap::new();
    for view in control.driver.adapters(&AdapterFilter::default()).await? {
        families.entry(family_of(&view.version.adapter_id).to_owned()).or_default().push(view);
    }
    Ok(families)
}

fn family_of(adapter_id: &str) -> &str {
    Family::id_of(adapter_id).unwrap_or(adapter_id)
}

/// The versions of the family of `adapter_id`, oldest first.
async fn relatives(control: &Control, adapter_id: &str) -> Result<Vec<AdapterView>, PageError> {
    let mut all = control.driver.adapters(&AdapterFilter::default()).await?;
    all.retain(|view| family_of(&view.version.adapter_id) == family_of(adapter_id));
    Ok(all)
}

/// Chooses two versions to compare.
fn chooser(versions: &[AdapterView], from: &str, to: &str) -> Markup {
    let choice = |name: &str, words: &str, chosen: &str| {
        html! {
            label { (words)
                select name=(name) {
                    @for view in versions {
                        @let id = &view.version.adapter_id;
                        option value=(id) selected[id == chosen] {
                            (view.version.version) " " (view.version.status.as_str())
                            @for alias in &view.aliases { " " (alias) }
                        }
                    }
                }
            }
        }
    };
    html! {
        form.filter.compare method="get" action="/registry/diff" {
            (choice("from", "Compare", from))
            (choice("to", "with", to))
            button.quiet { "Show what differs" }
        }
    }
}

/// The mean of a version and its one-sided bounds, as the gate had them.
fn score(view: &AdapterView) -> Markup {
    score_bar(view.version.metrics.get("llm_judge_score").copied(), view.bounds())
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

#[cfg(test)]
mod tests;
