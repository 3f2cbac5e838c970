//! What is collected, what is not, and what is dropped.

use clara_lifecycle::time::Timestamp;
use tracing::{debug, error, info, info_span, warn};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt};

use super::*;

/// With logs of the process switched off, as `clara` does.
fn collecting() -> tracing::subscriber::DefaultGuard {
    let quiet = tracing_subscriber::fmt::layer().with_filter(EnvFilter::new("off"));
    tracing::subscriber::set_default(tracing_subscriber::registry().with(quiet).with(layer()))
}

fn attempt() -> Span {
    info_span!("stage.attempt", job.id = "job-1")
}

fn line(message: &str) -> LogLine {
    let (target, message) = (String::new(), message.to_owned());
    LogLine { number: 0, at: Timestamp(0), level: LogLevel::Info, target, message }
}

fn messages(log: &AttemptLog) -> Vec<String> {
    log.unsent().into_iter().map(|line| format!("{} {} {}", line.number, line.level, line.message)).collect()
}

#[test]
fn lines_inside_an_attempt_are_collected_with_their_fields() {
    let _collecting = collecting();
    let span = attempt();
    let log = AttemptLog::of(&span).unwrap();
    info!("before");
    span.in_scope(|| {
        info!(kept = 10, job.id = "job-1", name = "a b", "read the documents");
        debug!("details");
        info_span!("artifact.put").in_scope(|| warn!("the disk is slow"));
        error!(target: "other_library", "refused");
        info!(target: "other_library", "hello");
    });
    info!("after");
    assert_eq!(
        messages(&log),
        ["1 info read the documents kept=10 name=a b", "2 warn the disk is slow", "3 error refused"]
    );
    assert_eq!(log.unsent()[0].target, "clara_runtime::log_capture::tests");
}

#[test]
fn two_attempts_at_the_same_time_have_their_own_lines() {
    let _collecting = collecting();
    let (first, second) = (attempt(), attempt());
    let (of_first, of_second) = (AttemptLog::of(&first).unwrap(), AttemptLog::of(&second).unwrap());
    first.in_scope(|| info!("one"));
    second.in_scope(|| info!("two"));
    assert_eq!(
        (messages(&of_first), messages(&of_second)),
        (vec!["1 info one".to_owned()], vec!["1 info two".to_owned()])
    );
}

#[test]
fn without_the_layer_there_is_no_log() {
    let _none = tracing::subscriber::set_default(tracing_subscriber::registry());
    assert!(AttemptLog::of(&attempt()).is_none());
}

#[test]
fn what_was_sent_is_forgotten_and_numbers_go_on() {
    let log = AttemptLog::default();
    for text in ["one", "two", "three"] {
        log.push(line(text));
    }
    log.sent(2);
    log.push(line("four"));
    assert_eq!(messages(&log), ["3 info three", "4 info four"]);
    assert_eq!(log.dropped(), 0);
}

#[test]
fn beyond_its_limits_the_oldest_lines_are_dropped_and_counted() {
    let log = AttemptLog::default();
    (0..MOST_LINES + 5).for_each(|_| log.push(line("short")));
    assert_eq!((log.unsent().len(), log.unsent()[0].number, log.dropped()), (MOST_LINES, 6, 5));
    let wordy = AttemptLog::default();
    let text = "x".repeat(MOST_BYTES / 4);
    (0..6).for_each(|_| wordy.push(line(&text)));
    assert_eq!((wordy.unsent().len(), wordy.dropped()), (4, 2));
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let _collecting = collecting();
    let span = attempt();
    let log = AttemptLog::of(&span).unwrap();
    span.in_scope(|| info!("{}", "ü".repeat(5_000)));
    let message = log.unsent().remove(0).message;
    assert!(message.ends_with("ü…") && message.len() < 4_200, "{}", message.len());
}
