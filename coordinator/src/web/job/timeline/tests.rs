//! Attempts are told from events.

use super::*;

fn at(ms: i64) -> Timestamp {
    Timestamp(ms)
}

fn queued(ms: i64, attempt: u32) -> (Timestamp, JobEvent) {
    (at(ms), JobEvent::Queued { stage: Stage::Train, attempt: Attempt(attempt), not_before: at(ms) })
}

fn claimed(ms: i64, attempt: u32) -> (Timestamp, JobEvent) {
    (at(ms), JobEvent::Claimed { stage: Stage::Train, attempt: Attempt(attempt), worker: "gpu-1".to_owned() })
}

fn failed(ms: i64, attempt: u32) -> (Timestamp, JobEvent) {
    (
        at(ms),
        JobEvent::Failed {
            stage: Stage::Train,
            attempt: Attempt(attempt),
            message: "out of memory <b>".to_owned(),
        },
    )
}

#[test]
fn an_attempt_that_failed_and_its_successor_are_two_lines() {
    let lines = attempts(&[queued(0, 1), claimed(10, 1), failed(30, 1), queued(30, 2), claimed(50, 2)]);
    let ends: Vec<_> = lines.iter().map(|line| line.ended).collect();
    assert_eq!(ends, [Some((at(30), "failed")), None]);
    assert_eq!(lines[1].claimed_at, Some(at(50)));
}

#[test]
fn a_cancelled_job_leaves_no_attempt_open() {
    let lines = attempts(&[queued(0, 1), claimed(10, 1), (at(20), JobEvent::Cancelled)]);
    assert_eq!(lines[0].ended, Some((at(20), "cancelled")));
}

#[test]
fn bars_stand_where_their_times_are_and_messages_stay_text() {
    let lines = attempts(&[queued(0, 1), claimed(50, 1), failed(100, 1)]);
    let drawn = draw(&lines, at(100)).into_string();
    assert!(drawn.contains(r#"<rect class="wait" x="110.0" y="4.0" width="430.0""#), "{drawn}");
    assert!(drawn.contains(r#"<rect class="bad" x="540.0" y="4.0" width="430.0""#), "{drawn}");
    assert!(drawn.contains("out of memory &lt;b&gt;") && !drawn.contains("<b>"), "{drawn}");
}

#[test]
fn nothing_is_drawn_before_the_first_attempt() {
    assert_eq!(draw(&attempts(&[(at(0), JobEvent::Submitted)]), at(5)).into_string(), "");
}
