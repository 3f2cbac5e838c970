//! How lines look.

use clara_lifecycle::{
    id::{Attempt, Fence},
    log::LogLevel,
    time::Timestamp,
};

use super::*;

fn part(message: &str) -> LogPart {
    let line = LogLine {
        number: 7,
        at: Timestamp(1_500),
        level: LogLevel::Warn,
        target: "clara_ingest_worker".to_owned(),
        message: message.to_owned(),
    };
    LogPart { stage: Stage::Ingest, attempt: Attempt(2), fence: Fence(3), lines: vec![line] }
}

#[test]
fn a_line_shows_time_attempt_level_and_message_and_cannot_steer_the_terminal() {
    let part = part("left out\u{1b}[2J a line\nof two");
    assert_eq!(
        text(&part, &part.lines[0]),
        "1970-01-01 00:00:01  ingest/2    warn  left out[2J a line\n    of two"
    );
}

#[test]
fn a_document_has_everything() {
    let part = part("left out");
    let expected = json!({
        "stage": "ingest", "attempt": 2, "fence": 3, "number": 7, "at": 1500, "level": "warn",
        "target": "clara_ingest_worker", "message": "left out",
    });
    assert_eq!(document(&part, &part.lines[0]), expected);
}

#[test]
fn missing_numbers_are_told() {
    assert_eq!(gap(3, 4), None);
    assert_eq!(gap(3, 5).unwrap(), "… 1 line dropped");
    assert_eq!(gap(0, 6).unwrap(), "… 5 lines dropped");
}
