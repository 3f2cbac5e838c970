//! Tests of progress lines off a terminal.

use std::collections::BTreeMap;

use clara_lifecycle::id::Attempt;

use super::*;

fn lines() -> ProgressView {
    ProgressView {
        style: Style::Lines,
        step: words::step,
        since: Timestamp(10),
        stage: None,
        tenth: None,
        noted_at: None,
        counted_at: None,
        told: String::new(),
        drawing: None,
    }
}

fn steps(done: u64, total: u64) -> Progress {
    let figures = BTreeMap::from([
        ("loss".to_owned(), 2.345_6),
        ("tokens_per_second".to_owned(), 401.2),
        ("seconds_left".to_owned(), 75.0),
    ]);
    Progress {
        counter: done,
        done,
        total: Some(total),
        unit: "steps".to_owned(),
        figures,
        ..Progress::default()
    }
}

fn event(at: i64, event: JobEvent) -> NumberedEvent {
    NumberedEvent { number: 1, at: Timestamp(at), event }
}

#[test]
fn a_line_names_step_share_loss_speed_and_time_left() {
    let line = lines().line(Stage::Train, &steps(3, 30));
    let expected = "2/5 train: 10 % (3 of 30 steps), loss 2.346, 401 tokens/s, 1 min 15 s left";
    assert_eq!(line.as_deref(), Some(expected));
}

#[test]
fn there_is_one_line_for_every_tenth_and_no_more() {
    let mut view = lines();
    let told = (0..=100).filter(|done| view.line(Stage::Train, &steps(*done, 100)).is_some()).count();
    assert_eq!(told, 10);
}

#[test]
fn without_a_total_the_count_is_told_now_and_then() {
    let (mut view, start) = (lines().alone(), Instant::now());
    let figures = BTreeMap::from([("documents_per_second".to_owned(), 1200.0)]);
    let mut progress = Progress { done: 2400, unit: "documents".to_owned(), figures, ..Progress::default() };
    let line = view.count(Stage::Ingest, &progress, start);
    assert_eq!(line.as_deref(), Some("ingest: 2400 documents, 1200 documents/s"));
    let mut told =
        |seconds| view.count(Stage::Ingest, &progress, start + Duration::from_secs(seconds)).is_some();
    assert_eq!([5, 9, 10, 11, 20].map(&mut told), [false, false, true, false, true]);
    progress.figures.clear();
    assert_eq!(lines().count(Stage::Ingest, &progress, start), None);
    assert_eq!(lines().line(Stage::Ingest, &progress), None);
}

#[test]
fn a_stage_without_a_job_has_no_number() {
    let line = lines().alone().line(Stage::Ingest, &Progress { figures: BTreeMap::new(), ..steps(3, 30) });
    assert_eq!(line.as_deref(), Some("ingest: 10 % (3 of 30 steps)"));
}

#[test]
fn what_is_waited_for_is_told_at_once_and_then_now_and_then() {
    let (mut view, start) = (lines(), Instant::now());
    let note = "waiting for @gesetze: connection refused; try 3, giving up in 9 min";
    let mut told = |seconds| view.note(note, start + Duration::from_secs(seconds)).is_some();
    assert_eq!([0, 5, 29, 30, 35, 60].map(&mut told), [true, false, false, true, false, true]);
    let progress = Progress { note: note.to_owned(), ..Progress::default() };
    let mut view = lines();
    view.see(&event(10, JobEvent::Progressed { stage: Stage::Ingest, progress }));
    assert_eq!(view.told, note);
}

#[test]
fn every_stage_begins_with_its_first_tenth_again() {
    let mut view = lines();
    view.see(&event(10, JobEvent::Progressed { stage: Stage::Train, progress: steps(10, 10) }));
    assert_eq!(view.tenth, Some(10));
    view.see(&event(11, JobEvent::Progressed { stage: Stage::Judge, progress: steps(2, 10) }));
    assert_eq!((view.stage, view.tenth), (Some(Stage::Judge), Some(2)));
}

#[test]
fn events_from_before_are_not_shown_again() {
    let mut view = lines();
    let failed = JobEvent::Failed { stage: Stage::Train, attempt: Attempt::FIRST, message: "no room".into() };
    view.see(&event(9, failed.clone()));
    assert_eq!(view.told, "");
    view.see(&event(10, failed));
    assert_eq!(view.told, "2/5 train: attempt 1 failed: no room");
}
