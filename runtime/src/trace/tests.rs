//! Traces of jobs, `traceparent` as the standard has it, and the way through gRPC.

use super::*;

const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn job(name: &str) -> JobId {
    name.parse().unwrap()
}

#[test]
fn the_trace_of_a_job_is_its_uuid() {
    for name in ["job-0198c1f0-7b6e-7d3a-9c44-2f1e5a6b7c8d", "job-0198c1f07b6e7d3a9c442f1e5a6b7c8d"] {
        let trace = TraceContext::of_job(&job(name));
        assert_eq!(trace.trace_id().to_string(), "0198c1f07b6e7d3a9c442f1e5a6b7c8d");
    }
}

#[test]
fn a_job_with_another_name_has_a_trace_of_its_own_that_is_always_the_same() {
    // First half of the SHA-256 of `job-1`, as sha256sum tells it.
    let first = TraceContext::of_job(&job("job-1"));
    assert_eq!(first.trace_id().to_string(), "026ab639c21df8aa80e5789370a9db1b");
    let nil = TraceContext::of_job(&job("job-00000000-0000-0000-0000-000000000000"));
    assert_ne!(nil.trace_id, [0; 16]);
    assert_ne!(first.trace_id, nil.trace_id);
    assert_eq!(first.trace_id, TraceContext::of_job(&job("job-1")).trace_id);
}

#[test]
fn spans_are_fresh() {
    let parent = TraceContext::of_job(&job("job-1"));
    let again = TraceContext::of_job(&job("job-1"));
    let child = parent.child();
    assert_eq!(child.trace_id, parent.trace_id);
    assert!(child.span_id != parent.span_id && again.span_id != parent.span_id);
}

#[test]
fn what_is_shown_is_read_again() {
    let trace = TraceContext::of_job(&job("job-1"));
    assert_eq!(TraceContext::parse(&trace.to_string()), Some(trace));
    assert_eq!(TraceContext::parse(EXAMPLE).unwrap().to_string(), EXAMPLE);
}

#[test]
fn flags_do_not_matter_and_later_versions_may_go_on() {
    let trace = TraceContext::parse(EXAMPLE);
    let ids = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
    for text in ["00-{}-00", "00-{}-ff", "01-{}-01", "cc-{}-01-what-comes", "cc-{}-01-"] {
        let text = text.replace("{}", ids);
        assert_eq!(TraceContext::parse(&text), trace, "{text}");
    }
}

#[test]
fn what_is_no_traceparent_begins_a_trace_anew() {
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let bad = [
        String::new(),
        "00".to_owned(),
        // Version 00 ends here; ff is forbidden; later versions go on with a hyphen.
        format!("00-{trace}-{span}-01-more"),
        format!("00-{trace}-{span}-01-"),
        format!("00-{trace}-{span}-011"),
        format!("ff-{trace}-{span}-01"),
        format!("cc-{trace}-{span}-01.more"),
        // No ids of zeros alone.
        format!("00-{}-{span}-01", "0".repeat(32)),
        format!("00-{trace}-{}-01", "0".repeat(16)),
        // Small hexadecimal digits alone, in their places.
        format!("00-{}-{span}-01", trace.to_uppercase()),
        format!("00-{trace}-{}-01", span.replace('f', "g")),
        format!("0x-{trace}-{span}-01"),
        format!("00-{trace}-{span}-0."),
        format!("00-{trace}-{span}-0"),
        format!("00-{trace}_{span}-01"),
        format!("00-{trace}-{span}--1"),
        format!("000-{}-{span}-01", trace.split_at(1).1),
        format!("00-{}-{span}a-01", trace.split_at(1).1),
        format!(" 00-{trace}-{span}-01"),
        format!("00-{trace}-{span}-01 "),
        // 55 bytes that end within a character.
        format!("00-{trace}-{span}-0ä"),
    ];
    for text in bad {
        assert_eq!(TraceContext::parse(&text), None, "`{text}`");
    }
}

#[test]
fn a_request_carries_the_context() {
    let trace = TraceContext::of_job(&job("job-1"));
    let request = trace.inject("message");
    assert_eq!(TraceContext::extract(request.metadata()), Some(trace));
    assert_eq!(request.into_inner(), "message");
}

#[test]
fn a_request_without_a_context_or_with_two_carries_none() {
    let mut request = tonic::Request::new(());
    assert_eq!(TraceContext::extract(request.metadata()), None);
    request.metadata_mut().append(TRACEPARENT, EXAMPLE.parse().unwrap());
    assert!(TraceContext::extract(request.metadata()).is_some());
    request.metadata_mut().append(TRACEPARENT, EXAMPLE.parse().unwrap());
    assert_eq!(TraceContext::extract(request.metadata()), None);
    let mut garbage = tonic::Request::new(());
    garbage.metadata_mut().insert(TRACEPARENT, MetadataValue::try_from(&b"\xff"[..]).unwrap());
    assert_eq!(TraceContext::extract(garbage.metadata()), None);
}
