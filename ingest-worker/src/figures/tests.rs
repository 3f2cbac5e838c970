//! Rates over made-up moments.

use std::time::{Duration, Instant};

use super::{Recent, seconds_left};

#[test]
fn the_rate_is_of_late_and_begins_anew_with_a_pass() {
    let (mut recent, start) = (Recent::default(), Instant::now());
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    assert_eq!(recent.rate(at(0), 0), None);
    assert_eq!(recent.rate(start + Duration::from_millis(2), 4), None, "a rate over no time");
    for second in 1..=100 {
        let done = if second <= 50 { second * 10 } else { 500 + (second - 50) * 100 };
        let rate = recent.rate(at(second), done).unwrap();
        let expected = match second {
            ..=50 => 10.0,
            75.. => 100.0,
            _ => continue,
        };
        assert!((rate - expected).abs() < 1e-9, "{second}: {rate}");
    }
    assert_eq!(recent.rate(at(101), 3), None);
    let rate = recent.rate(at(102), 5).unwrap();
    assert!((rate - 2.0).abs() < 1e-9, "{rate}");
}

#[test]
fn the_time_left_needs_a_rate_and_a_total() {
    assert_eq!(seconds_left(Some(10.0), 50, Some(150)), Some(10.0));
    assert_eq!(seconds_left(Some(0.0), 50, Some(150)), None);
    assert_eq!(seconds_left(None, 50, Some(150)), None);
    assert_eq!(seconds_left(Some(10.0), 50, None), None);
}
