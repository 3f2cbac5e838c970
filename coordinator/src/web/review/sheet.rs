//! A version under review as a page: figures, one answer, the list of answers, the verdict.

use clara_lifecycle::{
    adapter::AdapterStatus,
    review::{ReviewItem, ReviewLine, ReviewSheet},
};
use maud::{Markup, html};

use super::{Asked, answer, encoded};
use crate::{
    figures,
    web::{
        Visitor,
        page::{badge, score_bar},
    },
};

const KEYS: [(&str, &str); 11] = [
    ("j", "next answer"),
    ("k", "previous answer"),
    ("a", "approve the version"),
    ("r", "reject the version"),
    ("c", "comment on the answer"),
    ("s", "edit its scores"),
    ("1 to 5", "in the scores: 2 to 10; blind: 1 or 2 is the better answer, 0 neither"),
    ("d", "change what is marked"),
    ("b", "blind: whose answer is whose, and all scores, stay hidden until you choose"),
    ("Esc", "leave a form; a reason that was begun is kept"),
    ("?", "these keys"),
];

/// Lines of the list that a page has from the beginning.
const AT_ONCE: usize = 40;

pub(super) fn body(
    sheet: &ReviewSheet,
    item: Option<&ReviewItem>,
    asked: &Asked,
    visitor: &Visitor,
) -> Markup {
    let is_blind = asked.is_blind();
    let current = item.map(|item| item.sample_id.as_str());
    html! {
        div.review data-adapter=(sheet.adapter_id) data-path={ "/review/" (encoded(&sheet.adapter_id)) }
            data-blind[is_blind] data-named[visitor.name().is_some()] {
            header.review-head {
                h1 { (sheet.adapter_id) " " (badge(sheet.status.as_str())) }
                (summary(sheet, is_blind))
                (tools(sheet, current, is_blind))
                (verdict(sheet, visitor))
                @if asked.waits.is_some() { p.notice { "Recorded; another person must approve it too." } }
                p #notice .notice role="alert" hidden {}
            }
            div #answer {
                @match item {
                    Some(item) => (answer::part(sheet, item, is_blind, visitor)),
                    None => p { "The evaluation has no answers." },
                }
            }
            (list(sheet, asked, current))
            dialog #help {
                h2 { "Keys" }
                dl.fields { @for (key, does) in KEYS { dt { kbd { (key) } } dd { (does) } } }
                form method="dialog" { button.quiet { "Close" } }
            }
        }
    }
}

fn summary(sheet: &ReviewSheet, is_blind: bool) -> Markup {
    html! {
        p.review-figures {
            @if is_blind {
                span.faint { "Scores stay hidden until you choose." }
            } @else {
                span { "Mean " (score_bar(sheet.mean, sheet.lower_bound.zip(sheet.upper_bound))) }
                span { "with reviewers' scores " b #corrected { (figures::number(sheet.corrected_mean, 1)) } }
                @if let Some(mean) = sheet.champion_mean { span { "champion " b { (format!("{mean:.1}")) } } }
                span.faint { "approved from " (sheet.approve_at) ", rejected below " (sheet.review_at) }
            }
            span.faint { (sheet.golden_dataset) " · judged by " (sheet.judges.join(", ")) }
        }
        @if !is_blind { (criteria(sheet)) }
        @for warning in &sheet.warnings { p.notice { (warning) } }
    }
}

/// Every criterion over all answers, and why the gate said what it said.
fn criteria(sheet: &ReviewSheet) -> Markup {
    html! {
        details.review-criteria {
            summary {
                "Gate: " (sheet.decision.map_or("not decided", |decision| decision.as_str()))
                ", and criteria over all answers"
            }
            ul { @for reason in &sheet.reasons { li { (reason.text) " " code.faint { (reason.code) } } } }
            table {
                thead { tr { th { "Criterion" } th.number { "Weight" } th { "Mean, 95 % bounds" } th.number { "Champion" } } }
                tbody {
                    @for row in &sheet.criteria {
                        tr {
                            td { (row.criterion) }
                            td.number { (row.weight) }
                            td { (answer::bar(row.mean, Some((row.lower, row.upper)), None)) " " (format!("{:.2}", row.mean)) }
                            td.number { (figures::number(row.champion, 2)) }
                        }
                    }
                }
            }
        }
    }
}

fn tools(sheet: &ReviewSheet, current: Option<&str>, is_blind: bool) -> Markup {
    let here = super::link(&sheet.adapter_id, current.unwrap_or_default());
    let other = if is_blind { here } else { format!("{here}&blind=1") };
    html! {
        fieldset.marks {
            legend.faint { "Marks " kbd { "d" } }
            label { input #marks-expected type="radio" name="marks" checked; " from expected" }
            @if sheet.champion_id.is_some() {
                label { input #marks-champion type="radio" name="marks"; " from champion" }
            }
            label { input #marks-citations type="radio" name="marks"; " citations only" }
            @if sheet.champion_id.is_some() {
                a #blind.button.quiet href=(other) { @if is_blind { "Leave blind mode" } @else { "Blind mode" } " " kbd { "b" } }
            }
            button #keys.quiet type="button" hidden { "Keys " kbd { "?" } }
        }
    }
}

fn verdict(sheet: &ReviewSheet, visitor: &Visitor) -> Markup {
    let waits = matches!(sheet.status, AdapterStatus::InReview | AdapterStatus::PendingReview);
    let form = |verdict: &str, words: &str, key: &str, danger: bool| {
        html! {
            details id=(verdict) .verdict {
                summary { (words) " " kbd { (key) } }
                form.stack method="post" action={ "/review/" (encoded(&sheet.adapter_id)) "/verdict" } data-verdict {
                    (visitor.token_field())
                    input type="hidden" name="verdict" value=(verdict);
                    input type="hidden" name="revision" value=(sheet.revision);
                    label { "Why? It is kept in the audit log."
                        textarea name="reason" rows="3" required { (sheet.draft.as_deref().unwrap_or_default()) }
                    }
                    button.danger[danger] { (words) }
                }
            }
        }
    };
    html! {
        div.verdicts {
            @if !waits {
                span { "Decided: " (badge(sheet.status.as_str())) }
            } @else if visitor.name().is_some() {
                (form("approve", "Approve", "a", false))
                (form("reject", "Reject", "r", true))
            } @else {
                a.button href={ "/name?next=/review/" (encoded(&sheet.adapter_id)) } { "Say who you are to review" }
            }
        }
    }
}

/// A line of the list of answers; what stands in all of them is short, since a version has a thousand.
fn entry(sheet: &ReviewSheet, line: &ReviewLine, asked: &Asked, current: Option<&str>) -> Markup {
    let is_blind = asked.is_blind();
    let is_current = current == Some(line.sample_id.as_str());
    html! {
        li {
            a href={ (super::link(&sheet.adapter_id, &line.sample_id)) (asked.blind_query()) } data-sample=(line.sample_id)
                .seen[line.seen] .failed[!line.passed && !is_blind] aria-current=[is_current.then_some("true")] {
                span { (line.sample_id) }
                @if !is_blind {
                    b { (figures::number(line.corrected.or(line.overall), 1)) @if line.corrected.is_some() { "*" } }
                    @if let Some(concern) = line.priority.concerns.first() { small { (concern.words()) } }
                }
            }
        }
    }
}

/// The lines of all answers.
pub(super) fn entries(sheet: &ReviewSheet, asked: &Asked, current: Option<&str>) -> Markup {
    html! { @for line in &sheet.lines { (entry(sheet, line, asked, current)) } }
}

/// The list of answers: those around the current one, the others once a script or the user asks for them. With all of a
/// thousand in it the page takes several times as long to be painted.
fn list(sheet: &ReviewSheet, asked: &Asked, current: Option<&str>) -> Markup {
    let total = sheet.lines.len();
    let place = sheet.lines.iter().position(|line| current == Some(line.sample_id.as_str()));
    let is_whole = total <= AT_ONCE || asked.all.is_some();
    let first = place.unwrap_or(0).saturating_sub(AT_ONCE / 4).min(total.saturating_sub(AT_ONCE));
    let all = format!(
        "{}{}&all=1",
        super::link(&sheet.adapter_id, current.unwrap_or_default()),
        asked.blind_query()
    );
    html! {
        nav.answers aria-label="Answers" {
            h2 { "Answers " span.faint { (total) } }
            ol #answers data-partial[!is_whole] {
                @if is_whole { (entries(sheet, asked, current)) } @else {
                    @for line in sheet.lines.iter().skip(first).take(AT_ONCE) { (entry(sheet, line, asked, current)) }
                }
            }
            @if !is_whole { p #all-answers { a href=(all) { "All " (total) " answers" } } }
        }
    }
}
