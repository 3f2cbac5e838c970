//! Which pauses come, and when they end.

use std::time::Duration;

use super::Patience;

fn millis(waits: &[Option<Duration>]) -> Vec<Option<u128>> {
    waits.iter().map(|wait| wait.map(|wait| wait.as_millis())).collect()
}

#[test]
fn pauses_double_until_the_next_one_would_end_beyond_the_patience_and_begin_anew_with_news() {
    let mut patience = Patience::new(Duration::from_millis(700));
    let waits = [(); 4].map(|()| patience.wait(None));
    assert_eq!(millis(&waits), [Some(100), Some(200), Some(400), None]);
    patience.news();
    assert_eq!(millis(&[patience.wait(None)]), [Some(100)]);
}

#[test]
fn a_server_may_ask_for_more_than_our_longest_pause_and_not_for_more_than_our_patience() {
    let mut patience = Patience::new(Duration::from_mins(1));
    let waits = [(); 9].map(|()| patience.wait(None));
    assert_eq!(waits.last(), Some(&Some(Duration::from_secs(15))));
    assert_eq!(patience.wait(Some(Duration::from_secs(40))), Some(Duration::from_secs(40)));
    assert_eq!(patience.wait(Some(Duration::from_secs(61))), None);
}
