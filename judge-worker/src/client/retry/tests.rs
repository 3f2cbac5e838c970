//! Tests of the pauses between tries.

use std::time::Duration;

use clara_lifecycle::time::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Attempted, Fault, Pacing, Verdict};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn answered(status: u16, headers: &[(&'static str, &str)], body: &str) -> Attempted {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    Attempted::Answered { status, headers, body: body.to_owned() }
}

fn verdict(status: u16, headers: &[(&'static str, &str)], body: &str) -> Verdict {
    Pacing::patient(4).judge(answered(status, headers, body), 1, NOW, 0.0)
}

fn pause(verdict: &Verdict) -> Option<Duration> {
    match verdict {
        Verdict::Pause { pause, .. } => Some(*pause),
        Verdict::GiveUp(_) => None,
    }
}

fn fault(verdict: Verdict) -> Option<Fault> {
    match verdict {
        Verdict::Pause { .. } => None,
        Verdict::GiveUp(fault) => Some(fault),
    }
}

#[test]
fn pauses_double_up_to_the_longest_and_jitter_shortens_them() {
    let pacing = Pacing::patient(10);
    let pauses: Vec<_> = (1..=7).map(|tries| pacing.pause(tries, 0.0).as_millis()).collect();
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    assert_eq!(pacing.pause(2, 1.0), Duration::from_millis(750));
    assert_eq!(pacing.pause(u32::MAX, 0.0), Duration::from_secs(8));
}

#[test]
fn the_endpoint_may_ask_for_a_pause_in_three_ways() {
    let table: [(&[(&'static str, &str)], u64); 5] = [
        (&[("retry-after-ms", "1500")], 1_500),
        (&[("retry-after", "2.5")], 2_500),
        (&[("retry-after", "7"), ("retry-after-ms", "20")], 20),
        // 22:13:20 is now.
        (&[("retry-after", "Tue, 14 Nov 2023 22:13:50 GMT")], 30_000),
        (&[("retry-after", "Tue, 14 Nov 2023 22:13:00 GMT")], 0),
    ];
    for (headers, expected) in table {
        assert_eq!(pause(&verdict(429, headers, "")), Some(Duration::from_millis(expected)), "{headers:?}");
    }
    assert_eq!(pause(&verdict(429, &[("retry-after", "soon")], "")), Some(Duration::from_millis(500)));
}

#[test]
fn an_endpoint_that_asks_for_more_than_two_minutes_is_given_up() {
    assert_eq!(pause(&verdict(429, &[("retry-after", "120")], "")), Some(Duration::from_mins(2)));
    let fault = fault(verdict(429, &[("retry-after", "121")], ""));
    assert!(matches!(&fault, Some(Fault::Down(detail)) if detail.contains("121 s")), "{fault:?}");
}

#[test]
fn statuses_that_pass_are_tried_again_and_others_are_not() {
    for status in [408, 409, 429, 500, 502, 503, 504, 529] {
        assert!(pause(&verdict(status, &[], "")).is_some(), "{status}");
    }
    for status in [400, 401, 402, 403, 404, 413, 422] {
        assert!(fault(verdict(status, &[], "")).is_some(), "{status}");
    }
    assert!(fault(verdict(503, &[("x-should-retry", "false")], "")).is_some());
    assert!(pause(&verdict(400, &[("x-should-retry", "true")], "")).is_some());
}

#[test]
fn a_used_up_quota_is_final_although_its_status_is_429() {
    let body = r#"{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}"#;
    let fault = fault(verdict(429, &[], body));
    assert_eq!(fault, Some(Fault::Quota("status 429, You exceeded your quota".into())));
}

#[test]
fn patience_ends_with_the_last_try() {
    let last = |status| fault(Pacing::patient(4).judge(answered(status, &[], ""), 4, NOW, 0.0));
    assert!(matches!(last(503), Some(Fault::Down(_))));
    assert!(matches!(last(500), Some(Fault::ServerError(_))));
    let failed = Attempted::Failed("connection refused".into());
    assert_eq!(
        fault(Pacing::patient(1).judge(failed, 1, NOW, 0.0)),
        Some(Fault::Down("connection refused".into()))
    );
}

#[test]
fn the_words_of_an_error_are_found_in_the_shapes_that_servers_use() {
    let table = [
        (r#"{"error": {"message": "too  long"}}"#, "status 400, too long"),
        (r#"{"error": "too long"}"#, "status 400, too long"),
        (r#"{"message": "too long"}"#, "status 400, too long"),
        ("too long", "status 400, too long"),
        ("", "status 400, without a word"),
    ];
    for (body, expected) in table {
        let fault = fault(verdict(400, &[], body));
        assert!(matches!(&fault, Some(Fault::Rejected { detail, .. }) if detail == expected), "{fault:?}");
    }
}
