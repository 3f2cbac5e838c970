//! The audit log as a page: every chain followed from its first entry to its newest.

use axum::{extract::State, response::Response};
use clara_lifecycle::audit::AuditEntry;
use maud::{Markup, html};

use crate::{
    control_service::Control,
    registry::AuditVerification,
    web::{Page, PageError, Section, Visitor},
};

/// Entries that the page shows; REST has all.
const NEWEST: usize = 200;

pub(super) async fn show(State(control): State<Control>, visitor: Visitor) -> Result<Response, PageError> {
    let found = control.driver.verify_audit().await?;
    let (mut entries, _) = control.driver.audit_log(None).await?;
    let total = entries.len();
    entries.reverse();
    entries.truncate(NEWEST);
    let body = html! {
        h1 { "Audit log" }
        (verdict(&found))
        section.card {
            h2 { "Entries, newest first" }
            (table(&entries, true))
            @if total > NEWEST {
                p.faint { "The newest " (NEWEST) " of " (total) "; " a href="/api/v1/audit" { "all as JSON" } "." }
            }
        }
    };
    Ok(Page::new("Audit log", Section::Registry).show(&visitor, &body))
}

fn verdict(found: &AuditVerification) -> Markup {
    let (chains, entries) = (found.chains, found.entries);
    html! {
        @if found.breaks.is_empty() {
            p.notice.good { "All " (chains) " chains are whole: each of their " (entries) " entries follows from the one before it." }
        } @else {
            @for broken in &found.breaks {
                p.notice.bad { (broken.sentence()) }
            }
            p.faint { (found.breaks.len()) " of " (chains) " chains with " (entries) " entries are broken." }
        }
    }
}

/// Entries in the order given.
pub(super) fn table(entries: &[AuditEntry], with_subject: bool) -> Markup {
    html! {
        table {
            thead { tr {
                th { "time" } @if with_subject { th { "what of" } } th { "who" } th { "what" } th { "why" } th.hide-small { "hash" }
            } }
            tbody {
                @for entry in entries {
                    tr {
                        td.id.faint { (entry.at) }
                        @if with_subject { td { (entry.subject) } }
                        td { (entry.actor) }
                        td { (entry.action) }
                        td.text { (entry.reason) }
                        td.hide-small { code.faint { (entry.hash.short()) } }
                    }
                }
            }
        }
    }
}
