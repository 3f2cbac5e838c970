//! Tests of the limits in paused time.

use std::{sync::Arc, time::Duration};

use reqwest::header::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::{Allowance, Broken, Came, LONGEST_WAIT, Limits, Need, meter::span};

const NO_LIMIT: Allowance = Allowance { concurrency: 256, requests_per_minute: 0, tokens_per_minute: 0 };

fn need(allowance: Allowance, tokens: u64) -> Need {
    Need { allowance, tokens }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

/// One call that is answered at once, with the tokens that it took.
async fn call(limits: &Arc<Limits>, need: Need, tokens: u64) {
    limits.admit(need).await.unwrap().ended(Came::Answer(&HeaderMap::new(), Some(tokens)));
}

#[tokio::test(start_paused = true)]
async fn calls_per_minute_are_spaced_evenly_over_all_jobs() {
    let limits = Arc::new(Limits::default());
    let (slow, fast) = (
        Allowance { requests_per_minute: 60, ..NO_LIMIT },
        Allowance { requests_per_minute: 120, ..NO_LIMIT },
    );
    let started = Instant::now();
    for _ in 0..10 {
        call(&limits, need(slow, 1), 1).await;
        call(&limits, need(fast, 1), 1).await;
    }
    // Ten pairs of 1 s and 0.5 s; the last call is not waited for.
    let took = started.elapsed().as_secs_f64();
    assert!((14.4..14.7).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_minute_holds_hardly_more_calls_than_its_limit_even_after_a_rest() {
    let limits = Arc::new(Limits::default());
    let need = need(Allowance { requests_per_minute: 600, ..NO_LIMIT }, 1);
    call(&limits, need, 1).await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    let started = Instant::now();
    let mut calls = 0;
    while started.elapsed() < Duration::from_mins(1) {
        call(&limits, need, 1).await;
        calls += 1;
    }
    assert!((598..=605).contains(&calls), "{calls}");
}

#[tokio::test(start_paused = true)]
async fn tokens_per_minute_follow_what_was_really_used() {
    let limits = Arc::new(Limits::default());
    let need = need(Allowance { tokens_per_minute: 60_000, ..NO_LIMIT }, 4_000);
    let started = Instant::now();
    for _ in 0..60 {
        call(&limits, need, 1_000).await;
    }
    // 60 calls of 1,000 tokens at 1,000 a second, though each was estimated at four times as much.
    let took = started.elapsed().as_secs_f64();
    assert!((58.0..61.0).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_are_limited_by_each_jobs_own_number() {
    let limits = Arc::new(Limits::default());
    let two = need(Allowance { concurrency: 2, ..NO_LIMIT }, 1);
    let (first, _second) = (limits.admit(two).await.unwrap(), limits.admit(two).await.unwrap());
    let soon = Duration::from_secs(1);
    assert!(tokio::time::timeout(soon, limits.admit(two)).await.is_err());
    let three = limits.admit(need(Allowance { concurrency: 3, ..NO_LIMIT }, 1)).await.unwrap();
    drop(three);
    first.ended(Came::Failure);
    assert!(tokio::time::timeout(soon, limits.admit(two)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_the_process_hold_for_all_jobs_together_whatever_each_allows() {
    let limits = Arc::new(Limits::default());
    let process = Allowance { concurrency: 2, requests_per_minute: 60, ..Allowance::default() };
    let jobs = [0, 600, 90].map(|requests_per_minute| Allowance { requests_per_minute, ..NO_LIMIT });
    let jobs = jobs.map(|job| need(job.within(process), 1));
    let started = Instant::now();
    for job in jobs.into_iter().cycle().take(21) {
        call(&limits, job, 1).await;
    }
    let took = started.elapsed().as_secs_f64();
    assert!((19.7..20.1).contains(&took), "{took}");
    let _two = (limits.admit(jobs[0]).await.unwrap(), limits.admit(jobs[1]).await.unwrap());
    assert!(tokio::time::timeout(Duration::from_mins(1), limits.admit(jobs[2])).await.is_err());
}

#[test]
fn the_tighter_limit_holds_and_zero_is_none() {
    let job = Allowance { concurrency: 4, requests_per_minute: 0, tokens_per_minute: 900 };
    let process = Allowance { concurrency: 0, requests_per_minute: 200, tokens_per_minute: 1_000 };
    let both = Allowance { concurrency: 4, requests_per_minute: 200, tokens_per_minute: 900 };
    assert_eq!((job.within(process), process.within(job)), (both, both));
    assert_eq!(job.within(Allowance::default()), job);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_tells_that_nothing_is_left_is_waited_for() {
    let limits = Arc::new(Limits::default());
    let told = headers(&[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "1m2.5s")]);
    limits.admit(need(NO_LIMIT, 1)).await.unwrap().ended(Came::Answer(&told, None));
    let started = Instant::now();
    limits.admit(need(NO_LIMIT, 1)).await.unwrap().ended(Came::Answer(&HeaderMap::new(), None));
    assert!(started.elapsed() >= Duration::from_millis(62_500));
    let told = headers(&[("x-ratelimit-remaining-tokens", "500"), ("x-ratelimit-reset-tokens", "7s")]);
    limits.admit(need(NO_LIMIT, 1)).await.unwrap().ended(Came::Answer(&told, None));
    let started = Instant::now();
    let small = limits.admit(need(NO_LIMIT, 400)).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(1));
    let _large = limits.admit(need(NO_LIMIT, 400)).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(7));
    drop(small);
}

#[tokio::test(start_paused = true)]
async fn a_failing_endpoint_is_left_alone_tried_by_one_call_and_taken_up_again() {
    let limits = Arc::new(Limits::default());
    for _ in 0..10 {
        limits.admit(need(NO_LIMIT, 1)).await.unwrap().ended(Came::Failure);
    }
    let started = Instant::now();
    let probe = limits.admit(need(NO_LIMIT, 1)).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    // While the probe is on its way nobody else goes.
    assert!(tokio::time::timeout(Duration::from_secs(5), limits.admit(need(NO_LIMIT, 1))).await.is_err());
    probe.ended(Came::Failure);
    let started = Instant::now();
    let probe = limits.admit(need(NO_LIMIT, 1)).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2));
    probe.ended(Came::Answer(&HeaderMap::new(), None));
    let started = Instant::now();
    call(&limits, need(NO_LIMIT, 1), 1).await;
    assert!(started.elapsed() < Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn a_call_fails_that_waited_long_for_a_failing_endpoint() {
    let limits = Arc::new(Limits::default());
    for _ in 0..10 {
        limits.admit(need(NO_LIMIT, 1)).await.unwrap().ended(Came::Failure);
    }
    let _probe_without_end = limits.admit(need(NO_LIMIT, 1)).await.unwrap();
    let started = Instant::now();
    assert_eq!(limits.admit(need(NO_LIMIT, 1)).await.unwrap_err(), Broken { failures: 10 });
    assert!(started.elapsed() >= LONGEST_WAIT && started.elapsed() < LONGEST_WAIT * 2);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_lets_the_next_call_probe() {
    let limits = Arc::new(Limits::default());
    for _ in 0..10 {
        limits.admit(need(NO_LIMIT, 1)).await.unwrap().ended(Came::Failure);
    }
    drop(limits.admit(need(NO_LIMIT, 1)).await.unwrap());
    assert!(tokio::time::timeout(Duration::from_secs(1), limits.admit(need(NO_LIMIT, 1))).await.is_ok());
}

#[test]
fn spans_are_read_as_endpoints_write_them() {
    let of = |text| span(text).map(|span| span.as_millis());
    assert_eq!(
        [of("1s"), of("6m0s"), of("20ms"), of("1h2m3.5s")],
        [Some(1_000), Some(360_000), Some(20), Some(3_723_500)]
    );
    assert_eq!(
        [of("12"), of("0.25"), of("soon"), of("5x"), of("-1")],
        [Some(12_000), Some(250), None, None, None]
    );
}
