//! The queue of reviews as a page.

use clara_lifecycle::review::QueuedReview;
use maud::{Markup, html};

use super::encoded;
use crate::web::page::{badge, score_bar};

pub(super) fn body(queue: &[QueuedReview]) -> Markup {
    html! {
        h1 { "Review" }
        @if queue.is_empty() {
            p { "Nothing waits for a person." }
        } @else {
            p.faint { "What deserves a look comes first: scores near a threshold, hard failures, judges that disagree." }
            div.card {
                table {
                    thead { tr {
                        th { "Version" } th { "Status" } th { "Gate" } th { "Score" }
                        th.number { "Seen" } th.number { "Hard failures" } th.number.hide-small { "Overridden" }
                    } }
                    tbody { @for queued in queue { (row(queued)) } }
                }
            }
        }
    }
}

fn row(queued: &QueuedReview) -> Markup {
    html! {
        tr {
            td.id {
                @if queued.samples > 0 {
                    a href={ "/review/" (encoded(&queued.adapter_id)) } { (queued.adapter_id) }
                } @else {
                    (queued.adapter_id) " " span.faint { "not judged here" }
                }
            }
            td { (badge(queued.status.as_str())) }
            td { @if let Some(decision) = queued.decision { (badge(decision.as_str())) } }
            td { (score_bar(queued.mean, None)) }
            td.number { (queued.seen) " of " (queued.samples) }
            td.number { (queued.hard) }
            td.number.hide-small { (queued.overridden) }
        }
    }
}
