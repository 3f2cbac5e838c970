//! One version: where it comes from, how it was judged sample by sample, and who decided.

use axum::{
    extract::{Path, State},
    response::Response,
};
use clara_lifecycle::{
    adapter::{AdapterVersion, Lineage},
    audit::AuditEntry,
    job::Verdict,
};
use maud::{Markup, html};

use super::{audit, chooser, relatives};
use crate::{
    control_service::Control,
    figures,
    registry::AdapterView,
    web::{
        Page, PageError, Section, Visitor, evaluation,
        job::decided,
        page::{badge, fields, text},
    },
};

/// The page.
pub(super) async fn show(
    State(control): State<Control>,
    visitor: Visitor,
    Path(adapter): Path<String>,
) -> Result<Response, PageError> {
    let view = control.driver.adapter(&adapter).await?;
    let version = &view.version;
    let evidence = control.driver.evidence(version).await?;
    let evaluation = match control.evaluation(&evidence).await {
        Ok(found) => found,
        Err(error) if evidence.is_elsewhere(&error) => None,
        Err(error) => return Err(error.into()),
    };
    let family = relatives(&control, &version.adapter_id).await?;
    let (entries, broken) = control.driver.audit_log(Some(&version.adapter_id)).await?;
    let body = html! {
        h1 { (version.adapter_id) " " (badge(version.status.as_str())) @for alias in &view.aliases { " " (badge(alias)) } }
        p { a href={ "/registry/" (version.adapter_id) "/card" } { "Model card" } }
        (beside(&family, &version.adapter_id))
        @if let Some(deprecation) = &version.deprecation { p.notice { "Deprecated: " (deprecation.reason) } }
        @if let Some(evaluation) = &version.evaluation { (decided(&evaluation.report)) }
        div.grid {
            section.card { h2 { "Version" } (described(&view)) }
            section.card { h2 { "Lineage" } (lineage(version)) }
        }
        @if let Some(evaluation) = &evaluation { (evaluation::show(evaluation)) }
        section.card { h2 { "Audit trail" } (trail(&entries, broken.as_ref())) }
    };
    Ok(Page::new(&version.adapter_id, Section::Registry).show(&visitor, &body))
}

/// Chooses a version to compare with: the one before, at first.
fn beside(family: &[AdapterView], adapter_id: &str) -> Markup {
    let own = family.iter().position(|view| view.version.adapter_id == adapter_id);
    let before = own.and_then(|own| own.checked_sub(1)).and_then(|before| family.get(before));
    let after = own.and_then(|own| family.get(own + 1));
    let id = |view: &AdapterView| view.version.adapter_id.clone();
    html! {
        @match (before.map(id), after.map(id)) {
            (Some(before), _) => (chooser(family, &before, adapter_id)),
            (None, Some(after)) => (chooser(family, adapter_id, &after)),
            (None, None) => {},
        }
    }
}

fn described(view: &AdapterView) -> Markup {
    let version = &view.version;
    html! {
        (fields(&[
            ("domain", text(version.domain.as_str())),
            ("method", text(format!("{}, rank {}", version.method, version.rank))),
            ("base model", text(&version.base_model)),
            ("registered", text(format!("{} by {}", version.created_at, version.created_by))),
            ("approved", text(version.approved_by.as_deref().unwrap_or(figures::NONE))),
            ("signed", text(if version.signature.is_some() { "yes" } else { "no" })),
            ("checksum", html! { code { (version.adapter_checksum) } }),
        ]))
        h3 { "Metrics" }
        table { tbody {
            @for (name, value) in &version.metrics { tr { td { (name.replace('_', " ")) } td.number { (figures::number(Some(*value), figures::decimals(name))) } } }
        } }
        @if !version.review_notes.is_empty() {
            h3 { "Notes" }
            ul { @for note in &version.review_notes { li.text { (note) } } }
        }
    }
}

/// From the data to the approval.
fn lineage(version: &AdapterVersion) -> Markup {
    let Some(lineage) = &version.lineage else {
        return html! { p.faint { "It was imported from another registry, which told no lineage." } };
    };
    let Lineage {
        job,
        adapter,
        training,
        dataset,
        source_digest,
        golden_dataset,
        golden_digest,
        code_version,
        ..
    } = lineage;
    html! {
        ul.tree {
            li { "sources " (lineage.sources.join(", ")) " " code { (source_digest.short()) } @if let Some(query) = &lineage.query { " query “" (query) "”" }
            ul {
                li { "training data " code { (dataset.digest().short()) } " in " code { (dataset.prefix) } " (" (dataset.files.len()) " files)" @if dataset.file("card.md").is_some() { ", " a href={ "/api/v1/datasets/" (dataset.digest()) "/files/card.md" } { "card" } } }
                li { "base model " (figures::excerpt(&version.base_model, 60)) " " code { (version.base_model_hash.get(..12).unwrap_or(&version.base_model_hash)) } }
                li { "training: rank " (training.rank) ", alpha " (training.alpha) ", job " a href={ "/jobs/" (job) } { (job) }
                ul { li { "adapter " code { (adapter.prefix) } " by Clara " (code_version)
                ul { li { "judged with " a href={ "/golden/" (golden_dataset) } { (golden_dataset) } " " code { (golden_digest.short()) }
                ul {
                    @for review in &version.reviews { li { (if review.verdict == Verdict::Approve { "approved" } else { "rejected" }) " by " (review.actor) ": " (review.reason) } }
                    @for rollout in &version.rollouts { li { "in production since " (rollout.at) @if let Some(before) = &rollout.replaced { ", replaced " (before) } } }
                } } } } } }
            } }
        }
    }
}

fn trail(entries: &[AuditEntry], broken: Option<&(String, u64)>) -> Markup {
    html! {
        @match broken {
            Some((chain, number)) => p.notice.bad {
                "The chain " (chain) " is broken at entry " (number) ": it was changed outside of Clara."
            },
            None => p.faint {
                "The chain that these entries belong to is whole. " a href="/registry/audit" { "All chains" }
            },
        }
        (audit::table(entries, false))
    }
}
