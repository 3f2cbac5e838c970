//! Overlaps, old attempts and a running one.

use super::*;

#[test]
fn attempts_at_the_same_time_count_once_and_old_ones_not_at_all() {
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let mut busy = BusyTime::default();
    assert!(busy.ratio(at(1)).abs() < 1e-9);
    busy.began(at(10));
    busy.began(at(15));
    busy.ended(at(20));
    busy.ended(at(25));
    assert!((busy.ratio(at(60)) - 0.25).abs() < 1e-9);
    assert!((busy.ratio(at(80)) - 5.0 / 60.0).abs() < 1e-9);
    busy.began(at(85));
    assert!((busy.ratio(at(115)) - 0.5).abs() < 1e-9);
    assert!((busy.ratio(at(500)) - 1.0).abs() < 1e-9);
}

#[test]
fn many_short_attempts_take_little_room() {
    let start = Instant::now();
    let mut busy = BusyTime::default();
    for tenth in 0..6000_u64 {
        busy.began(start + Duration::from_millis(tenth * 10));
        busy.ended(start + Duration::from_millis(tenth * 10 + 5));
    }
    assert!(busy.over.len() <= 61, "{}", busy.over.len());
    assert!((busy.ratio(start + Duration::from_mins(1)) - 0.5).abs() < 0.02);
}
