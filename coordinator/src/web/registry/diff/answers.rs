//! The answers of two versions beside each other, with the words that changed.

use clara_lifecycle::review::{compare, marked};
use maud::{Markup, html};

use crate::{
    difference::SampleChange,
    figures,
    web::{marked::marked_text, page::score_bar},
};

/// Answers on one page: more make it slow to load.
const SHOWN: usize = 50;
/// Scores that differ by less look the same.
const NOTABLE: f64 = 0.05;

/// Those that changed, the greatest loss first.
pub(super) fn show((from, to): (&str, &str), samples: &[SampleChange], after: usize) -> Markup {
    let changed: Vec<&SampleChange> =
        samples.iter().filter(|sample| !sample.same_answer || sample.delta.abs() >= NOTABLE).collect();
    let place = |after: usize| format!("/registry/diff?from={from}&to={to}&after={after}#answers");
    html! {
        section.card.samples #answers {
            h2 { "Answers" }
            p.faint {
                (samples.len()) " samples were answered by both; " (samples.len() - changed.len())
                " answers and their scores are the same. The greatest loss comes first."
            }
            @for sample in changed.iter().skip(after).take(SHOWN) { (answer(sample)) }
            p {
                @if after > 0 { a.button.quiet href=(place(after.saturating_sub(SHOWN))) { "Previous" } " " }
                @if changed.len() > after.saturating_add(SHOWN) {
                    a.button.quiet href=(place(after + SHOWN)) { "Next" } " "
                }
                span.faint { (after.saturating_add(1).min(changed.len())) " to " (after.saturating_add(SHOWN).min(changed.len())) " of " (changed.len()) " that changed" }
            }
        }
    }
}

fn answer(sample: &SampleChange) -> Markup {
    html! {
        details id={ "sample-" (sample.sample_id) } {
            summary {
                b { (super::change(Some(sample.delta), 1)) }
                (score_bar(Some(sample.old_score), None)) "→" (score_bar(Some(sample.new_score), None))
                code { (sample.sample_id) }
                span.faint { (figures::excerpt(&sample.prompt, 80)) }
            }
            p.text { (sample.prompt) }
            @if sample.same_answer {
                p.faint { "Both gave the same answer:" }
                div.text { (sample.new_answer) }
            } @else {
                div.side {
                    div { h3 { "Old, " (format!("{:.1}", sample.old_score)) } (marked_text("", &marked(&sample.old_answer, &sample.new_answer))) }
                    div { h3 { "New, " (format!("{:.1}", sample.new_score)) } (marked_text("", &compare(&sample.old_answer, &sample.new_answer))) }
                }
            }
        }
    }
}
