//! The attempts of a job over time, as a drawing and as a table.

#[cfg(test)]
mod tests;

use clara_lifecycle::{id::Attempt, job::JobEvent, stage::Stage, time::Timestamp};
use maud::{Markup, html};

use crate::{chart::real, figures, web::page::badge};

/// One attempt of one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    stage: Stage,
    attempt: Attempt,
    worker: Option<String>,
    queued_at: Timestamp,
    claimed_at: Option<Timestamp>,
    /// When it ended, and how.
    ended: Option<(Timestamp, &'static str)>,
    message: Option<String>,
}

/// The attempts that events tell of, in order of their first event.
pub(super) fn attempts(events: &[(Timestamp, JobEvent)]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (at, event) in events {
        match event {
            JobEvent::Queued { stage, attempt, not_before } => {
                lines.push(Line {
                    stage: *stage,
                    attempt: *attempt,
                    worker: None,
                    queued_at: (*not_before).max(*at),
                    claimed_at: None,
                    ended: None,
                    message: None,
                });
            }
            JobEvent::Claimed { stage, attempt, worker } => {
                if let Some(line) = open(&mut lines, *stage, *attempt) {
                    (line.claimed_at, line.worker) = (Some(*at), Some(worker.clone()));
                }
            }
            JobEvent::Failed { stage, attempt, message } => {
                if let Some(line) = open(&mut lines, *stage, *attempt) {
                    (line.ended, line.message) = (Some((*at, "failed")), Some(message.clone()));
                }
            }
            JobEvent::HandedBack { stage, attempt } => {
                if let Some(line) = open(&mut lines, *stage, *attempt) {
                    line.ended = Some((*at, "handed back"));
                }
            }
            JobEvent::Succeeded { result } => {
                let stage = result.stage();
                if let Some(line) =
                    lines.iter_mut().rev().find(|line| line.stage == stage && line.ended.is_none())
                {
                    line.ended = Some((*at, "succeeded"));
                }
            }
            JobEvent::Cancelled => {
                for line in lines.iter_mut().filter(|line| line.ended.is_none()) {
                    line.ended = Some((*at, "cancelled"));
                }
            }
            JobEvent::Submitted
            | JobEvent::Progressed { .. }
            | JobEvent::Stuck { .. }
            | JobEvent::Registered { .. }
            | JobEvent::InReview
            | JobEvent::Reviewed { .. }
            | JobEvent::BudgetRaised { .. }
            | JobEvent::Retried { .. }
            | JobEvent::Finished { .. } => {}
        }
    }
    lines
}

fn open(lines: &mut [Line], stage: Stage, attempt: Attempt) -> Option<&mut Line> {
    lines.iter_mut().rev().find(|line| line.stage == stage && line.attempt == attempt && line.ended.is_none())
}

const LEFT: f64 = 110.0;
const WIDTH: f64 = 860.0;
const ROW: f64 = 20.0;

/// Waiting is pale and work is strong; the colour tells how it ended.
pub(super) fn draw(lines: &[Line], now: Timestamp) -> Markup {
    let Some(begin) = lines.iter().map(|line| line.queued_at).min() else { return html! {} };
    let end_of = |line: &Line| line.ended.map_or(now, |(at, _)| at).max(line.queued_at);
    let end = lines.iter().map(end_of).max().unwrap_or(now);
    let whole = real(u64::try_from(end.since(begin).as_millis()).unwrap_or(u64::MAX)).max(1.0);
    let x = |at: Timestamp| {
        let share = real(u64::try_from(at.since(begin).as_millis()).unwrap_or(u64::MAX)) / whole;
        LEFT + share * WIDTH
    };
    let height = ROW * real(lines.len()) + 22.0;
    html! {
        svg.timeline viewBox={ "0 0 " (LEFT + WIDTH + 10.0) " " (height) } role="img" aria-label="Attempts over time" {
            @for (row, line) in lines.iter().enumerate() {
                @let y = ROW * real(row);
                text x="0" y=(format!("{:.1}", y + 14.0)) { (line.stage) " " (line.attempt) }
                @let (from, to) = (x(line.queued_at), x(end_of(line)));
                @let claimed = line.claimed_at.map_or(to, x);
                (bar("wait", (from, claimed), y))
                @if line.claimed_at.is_some() { (bar(colour(line), (claimed, to), y)) }
            }
            line.rule x1=(LEFT) x2=(LEFT + WIDTH) y1=(height - 18.0) y2=(height - 18.0) {}
            text x=(LEFT) y=(height - 4.0) { (figures::time(begin)) }
            text x=(LEFT + WIDTH) y=(height - 4.0) text-anchor="end" { "+ " (figures::between(begin, end)) }
        }
        details #attempts { summary { "Attempts (" (lines.len()) ")" } (table(lines, now)) }
    }
}

fn bar(class: &str, (from, to): (f64, f64), y: f64) -> Markup {
    let (x, width, y) =
        (format!("{from:.1}"), format!("{:.1}", (to - from).max(1.5)), format!("{:.1}", y + 4.0));
    html! { rect class=(class) x=(x) y=(y) width=(width) height="12" rx="2" {} }
}

fn colour(line: &Line) -> &'static str {
    match line.ended {
        Some((_, "succeeded")) => "good",
        Some((_, "failed")) => "bad",
        Some(_) | None => "run",
    }
}

fn table(lines: &[Line], now: Timestamp) -> Markup {
    html! {
        table {
            thead { tr { th { "stage" } th { "attempt" } th { "state" } th { "waited" } th { "worked" } th { "worker" } } }
            tbody {
                @for line in lines {
                    @let end = line.ended.map_or(now, |(at, _)| at);
                    tr {
                        td { (line.stage) }
                        td { (line.attempt) }
                        td {
                            (badge(line.ended.map_or(if line.claimed_at.is_some() { "running" } else { "queued" }, |(_, how)| how)))
                            @if let Some(message) = &line.message { div.small.text { (figures::plain(message)) } }
                        }
                        td { (figures::between(line.queued_at, line.claimed_at.unwrap_or(end))) }
                        td { (line.claimed_at.map_or_else(|| figures::NONE.to_owned(), |claimed| figures::between(claimed, end))) }
                        td { code.small { (line.worker.as_deref().unwrap_or(figures::NONE)) } }
                    }
                }
            }
        }
    }
}
