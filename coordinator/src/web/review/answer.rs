//! One answer as part of a page: expected, champion and candidate beside each other, scores, judges, notes, forms.

mod forms;
mod scores;

use clara_lifecycle::{
    review::{AnswerView, ReviewItem, ReviewSheet, candidate_stands_first, compare, marked},
    score::{Flag, Preference},
};
use maud::{Markup, html};

use crate::{
    figures,
    web::{
        Visitor,
        marked::marked_text,
        page::{badge, folded},
    },
};

pub(super) use scores::bar;

/// The answer with everything around it; a script puts it in the place of another.
pub(super) fn part(sheet: &ReviewSheet, item: &ReviewItem, is_blind: bool, visitor: &Visitor) -> Markup {
    let reviewer = visitor.name().unwrap_or_default();
    let is_hidden = is_blind && item.champion.is_some() && !item.notes.preferences.contains_key(reviewer);
    let line = sheet.lines.iter().find(|line| line.sample_id == item.sample_id);
    let score = line.and_then(|line| line.corrected.or(line.overall));
    html! {
        section.answer data-sample=(item.sample_id) data-previous=[item.previous.as_ref()] data-next=[item.next.as_ref()]
            data-hidden[is_hidden] data-seen[item.notes.seen_by.contains(reviewer)] data-revision=(sheet.revision)
            data-corrected[item.corrected.is_some()]
            data-score=[(!is_hidden).then(|| figures::number(score, 1))]
            data-mean=[(!is_hidden).then(|| figures::number(sheet.corrected_mean, 1))] {
            header.answer-head {
                h2 { (item.sample_id) " " span.faint { (item.place) " of " (item.of) " · " (item.difficulty) } }
                (steps(sheet, item, is_blind))
            }
            @if !is_hidden { (badges(item)) }
            div.prompt {
                (folded("Prompt", &item.prompt))
                @if let Some(context) = &item.context { (folded("Context", context)) }
                @for (criterion, note) in &item.notes_for_judge { p.small.faint { (criterion) ": " (note) } }
            }
            @if is_hidden { (shuffled(item, reviewer)) (forms::choice(item, reviewer, visitor)) } @else {
                (side_by_side(item))
                @if let Some(unscored) = &item.unscored {
                    p.notice.bad { "No score: " (unscored.reason) ". " (unscored.detail) }
                }
                (scores::body(item))
                (noted(item))
                @if visitor.name().is_some() { (forms::body(item, is_blind, visitor)) }
            }
        }
    }
}

fn steps(sheet: &ReviewSheet, item: &ReviewItem, is_blind: bool) -> Markup {
    let blind = if is_blind { "&blind=1" } else { "" };
    let step = |to: Option<&String>, words: &str| {
        html! {
            @if let Some(to) = to {
                a.button.quiet href={ (super::link(&sheet.adapter_id, to)) (blind) } data-sample=(to) { (words) }
            }
        }
    };
    html! { span.steps { (step(item.previous.as_ref(), "Previous")) (step(item.next.as_ref(), "Next")) } }
}

fn badges(item: &ReviewItem) -> Markup {
    html! {
        p.badges {
            @for concern in &item.concerns { span.badge.warn { (concern.words()) } " " }
            @for flag in &item.candidate.details.flags { span.badge.flag { (flag_words(*flag)) } " " }
            @if let Some(pairwise) = &item.pairwise {
                span.badge {
                    "beside the champion: "
                    (match pairwise.verdict() {
                        Preference::Candidate => "better",
                        Preference::Champion => "worse",
                        Preference::Tie => "tie",
                    })
                    @if pairwise.is_flipped() { ", flips" }
                }
            }
        }
    }
}

fn flag_words(flag: Flag) -> &'static str {
    match flag {
        Flag::Injection => "injection",
        Flag::Neutralised => "neutralised",
        Flag::Disagreement => "disagreement",
        Flag::Unsure => "unsure",
        Flag::Flipped => "flipped",
        Flag::Long => "long",
    }
}

fn side_by_side(item: &ReviewItem) -> Markup {
    let (expected, candidate) = (item.expected_output.as_str(), item.candidate.text.as_str());
    html! {
        div.columns {
            article.column { h3 { "Expected" } (marked_text("", &marked(expected, candidate))) }
            @if let Some(champion) = &item.champion {
                article.column {
                    (title("Champion", champion))
                    (marked_text("", &compare(expected, &champion.text)))
                }
            }
            article.column.candidate {
                (title("Candidate", &item.candidate))
                (marked_text("by-expected", &compare(expected, candidate)))
                @if let Some(champion) = &item.champion { (marked_text("by-champion", &compare(&champion.text, candidate))) }
            }
        }
    }
}

/// Both answers without names, in an order that says nothing.
fn shuffled(item: &ReviewItem, reviewer: &str) -> Markup {
    let mut answers: Vec<_> = std::iter::once(&item.candidate).chain(&item.champion).collect();
    if !candidate_stands_first(&item.adapter_id, &item.sample_id, reviewer) {
        answers.reverse();
    }
    html! {
        div.columns {
            article.column { h3 { "Expected" } (marked_text("", &marked(&item.expected_output, ""))) }
            @for (number, answer) in answers.into_iter().enumerate() {
                article.column {
                    h3 { "Answer " (number + 1) }
                    (marked_text("", &compare(&item.expected_output, &answer.text)))
                }
            }
        }
    }
}

fn title(name: &str, answer: &AnswerView) -> Markup {
    html! {
        h3 { (name) " " b { (figures::number(answer.overall, 1)) } }
        p.small.faint {
            (answer.adapter_id)
            @if let Some(ratio) = answer.length_ratio { " · length ×" (format!("{ratio:.2}")) }
        }
    }
}

/// What people noted.
fn noted(item: &ReviewItem) -> Markup {
    let notes = &item.notes;
    html! {
        @if let Some(overridden) = &notes.overridden {
            p.note {
                b { (overridden.by) } " scored otherwise: " (overridden.reason) " "
                span.faint { (overridden.at) }
                @if let Some(corrected) = item.corrected { ", overall " b { (format!("{corrected:.1}")) } }
            }
        }
        @for (who, comment) in &notes.comments {
            p.note { b { (who) } ": " span.text { (comment.text) } " " span.faint { (comment.at) } }
        }
        @for (who, preference) in &notes.preferences {
            p.note {
                b { (who) } " chose blindly: "
                (match preference {
                    Preference::Candidate => "the candidate's answer",
                    Preference::Champion => "the champion's answer",
                    Preference::Tie => "neither",
                })
            }
        }
        @if !notes.seen_by.is_empty() {
            p.small.faint { "Seen by " @for who in &notes.seen_by { (badge(who)) " " } }
        }
    }
}
