//! How long a failing server is asked again.

use std::time::Duration;

use clara_runtime::config::{HumanDuration, RemoteSettings};
use tokio::time::Instant;

use super::{FetchError, Patience, Trouble};

fn patience(limit: Duration) -> Patience {
    Patience::new("@laws", &RemoteSettings { patience: HumanDuration(limit), ..RemoteSettings::default() })
}

#[tokio::test]
async fn a_server_that_fails_is_asked_again_until_patience_ends() {
    let limit = Duration::from_millis(800);
    let (mut patience, start) = (patience(limit), Instant::now());
    let mut tries = 0;
    let error = loop {
        match patience.bear(Trouble::Passing("it is starting up".to_owned())).await {
            Ok(()) => tries += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_retryable() && error.to_string().contains("it is starting up"), "{error}");
    // 250 and 500 ms fit into the limit, a third pause does not.
    assert!((1..=2).contains(&tries) && start.elapsed() < Duration::from_secs(5), "{tries} tries");
}

#[tokio::test]
async fn a_success_makes_patience_begin_anew() {
    let mut patience = patience(Duration::from_millis(400));
    for _ in 0..3 {
        patience.bear(Trouble::Passing("it is starting up".to_owned())).await.unwrap();
        patience.reset();
    }
}

#[tokio::test]
async fn what_no_repetition_helps_is_refused_at_once() {
    let error =
        patience(Duration::from_mins(1)).bear(Trouble::Lasting("no such table".into())).await.unwrap_err();
    assert!(matches!(&error, FetchError::Refused { problem, .. } if problem == "no such table"), "{error}");
}
