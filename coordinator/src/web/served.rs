//! What rollout targets serve beside what they should, as the watch saw it last.

use clara_lifecycle::served::{ServedReplica, ServedTarget};
use maud::{Markup, html};

use super::page::badge;
use crate::figures;

/// Replicas that serve something else than the registry says, and those that cannot be asked.
pub(super) fn alerts(targets: &[ServedTarget]) -> Markup {
    html! {
        @for target in targets {
            @for replica in &target.replicas {
                @for drift in &replica.drift {
                    p.notice.bad { b { (target.target) " drifts: " } code { (replica.url) } " " (drift) }
                }
                @if let Some(error) = &replica.error {
                    p.notice { b { (target.target) " is not seen: " } code { (replica.url) } " " (error) }
                }
            }
        }
    }
}

/// Every target with its replicas; nothing where the settings have none.
pub(super) fn card(targets: &[ServedTarget]) -> Markup {
    html! {
        @if !targets.is_empty() {
            section.card {
                h2 { "Served" }
                table {
                    thead { tr { th { "target" } th { "replica" } th { "state" } th { "serves" } th.hide-small { "looked at" } } }
                    tbody {
                        @for target in targets {
                            @for replica in &target.replicas {
                                tr {
                                    td { (target.target) " " span.faint { (target.kind) } }
                                    td { code { (replica.url) } }
                                    td { (badge(state(replica))) }
                                    td { (adapters(replica)) }
                                    td.faint.hide-small { (target.looked_at) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn state(replica: &ServedReplica) -> &'static str {
    if replica.error.is_some() {
        "not_seen"
    } else if replica.drift.is_empty() {
        "as_it_should"
    } else {
        "drifts"
    }
}

fn adapters(replica: &ServedReplica) -> Markup {
    html! {
        @if replica.adapters.is_empty() { span.faint { (figures::NONE) } }
        @for adapter in &replica.adapters {
            @match &adapter.adapter_id {
                Some(id) => a href={ "/registry/" (id) } { (adapter.name) },
                None => code { (adapter.name) },
            }
            " " (badge(adapter.role.as_str())) " "
        }
    }
}

#[cfg(test)]
mod tests;
