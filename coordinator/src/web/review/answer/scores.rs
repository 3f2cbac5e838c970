//! Scores by criterion with what the judges said, and checks.

use clara_lifecycle::{
    review::{AnswerView, ReviewItem},
    score::{CriteriaScores, Criterion, JudgeVote},
};
use maud::{Markup, html};

use crate::{figures, web::page::folded};

pub(super) fn body(item: &ReviewItem) -> Markup {
    let details = &item.candidate.details;
    html! {
        div.columns.scores {
            div.column { h3 { "Scores" } (table(item)) }
            div.column {
                h3 { "Judges" }
                @for vote in &details.votes { (judge(vote)) }
                @if details.votes.is_empty() && !item.candidate.judge_reasoning.is_empty() {
                    (folded("Reply", &item.candidate.judge_reasoning))
                }
                @if !details.checks.is_empty() { h3 { "Checks" } }
                @for check in &details.checks {
                    p.check.hard[check.is_hard] { code { (check.code) } " " (check.text) }
                }
                @if let Some(metrics) = &details.metrics {
                    p.small.faint {
                        "ROUGE-L " (format!("{:.2}", metrics.rouge_l)) " · chrF " (format!("{:.2}", metrics.chrf))
                        " · token F1 " (format!("{:.2}", metrics.token_f1))
                    }
                }
            }
        }
    }
}

fn table(item: &ReviewItem) -> Markup {
    html! {
        table {
            thead { tr { th { "Criterion" } th { "Candidate" } th.number { "" } th.number { "Reviewer" } th.number { "Champion" } } }
            tbody {
                @for criterion in Criterion::ALL {
                    @let score = score_of(&item.candidate, criterion);
                    @let human = item.notes.overridden.as_ref().and_then(|by| by.scores.get(&criterion).copied());
                    tr {
                        td { (criterion) " " span.faint { "×" (criterion.weight()) } }
                        td { @if let Some(score) = score { (bar(score, range(&item.candidate, criterion), human)) } }
                        td.number { (figures::number(score, 1)) }
                        td.number { @if let Some(human) = human { b { (format!("{human:.1}")) } } }
                        td.number { (figures::number(item.champion.as_ref().and_then(|champion| score_of(champion, criterion)), 1)) }
                    }
                }
            }
        }
    }
}

fn judge(vote: &JudgeVote) -> Markup {
    html! {
        details.judge open {
            summary { (vote.judge_id) }
            ul {
                @for (criterion, vote) in &vote.criteria {
                    li {
                        (criterion) " " b { (format!("{:.1}", vote.mean)) }
                        @if vote.entropy > 0.0 { " " span.badge.unsure { (format!("{:.1} bit", vote.entropy)) } }
                        @if let Some(reason) = &vote.reason { span.text { " " (reason) } }
                    }
                }
            }
            @if !vote.replies.is_empty() { (folded("Replies as they came", &vote.replies.join("\n\n"))) }
        }
    }
}

fn score_of(answer: &AnswerView, wanted: Criterion) -> Option<f64> {
    let mut scores = answer.scores.iter().flat_map(CriteriaScores::iter);
    scores.find(|(criterion, _)| *criterion == wanted).map(|(_, score)| score)
}

/// From the lowest judge to the highest; `None` for fewer than two.
fn range(answer: &AnswerView, criterion: Criterion) -> Option<(f64, f64)> {
    let votes =
        answer.details.votes.iter().filter_map(|vote| vote.criteria.get(&criterion)).map(|vote| vote.mean);
    let votes: Vec<_> = votes.collect();
    let low = votes.iter().copied().reduce(f64::min)?;
    let high = votes.iter().copied().reduce(f64::max)?;
    (votes.len() > 1).then_some((low, high))
}

/// A score on a bar from 0 to 10, with an interval around it and a reviewer's score beside it.
pub(in super::super) fn bar(score: f64, interval: Option<(f64, f64)>, human: Option<f64>) -> Markup {
    let place = |score: f64| (score * 10.0).clamp(0.0, 100.0);
    let label = interval.map_or_else(
        || format!("{score:.1} of 10"),
        |(low, high)| format!("{score:.1} of 10, {low:.1} to {high:.1}"),
    );
    html! {
        svg.bar viewBox="0 0 100 12" preserveAspectRatio="none" role="img" aria-label=(label) {
            title { (label) }
            rect.track x="0" y="4" width="100" height="4" rx="2" {}
            rect.value x="0" y="4" width=(place(score)) height="4" rx="2" {}
            @if let Some((low, high)) = interval {
                rect.interval x=(place(low)) y="2" width=((place(high) - place(low)).max(0.6)) height="8" rx="2" {}
            }
            rect.mean x=((place(score) - 0.8).clamp(0.0, 98.4)) y="0" width="1.6" height="12" {}
            @if let Some(human) = human { rect.human x=((place(human) - 0.8).clamp(0.0, 98.4)) y="0" width="1.6" height="12" {} }
        }
    }
}
