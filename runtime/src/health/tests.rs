//! Checks that fail, recover and are waited for.

use super::*;

#[test]
fn a_process_without_checks_is_ready() {
    assert!(Health::default().ready());
}

#[test]
fn an_expected_check_fails_until_it_is_set() {
    let health = Health::expecting(&["state", "broker"]);
    let told: Vec<String> = health.failing().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["broker: not checked yet", "state: not checked yet"]);
    health.set("broker", Ok(()));
    assert!(!health.ready());
    health.set("state", Ok(()));
    assert!(health.ready() && health.failing().is_empty());
}

#[test]
fn a_check_fails_with_its_newest_reason_in_one_line() {
    let health = Health::default();
    let owner = health.clone();
    owner.set("broker", Err("refused".to_owned()));
    owner.set("broker", Err("no such host\nor no name server".to_owned()));
    assert_eq!(health.failing().first().unwrap().to_string(), "broker: no such host or no name server");
    owner.set("broker", Ok(()));
    assert!(health.ready());
}

#[tokio::test(start_paused = true)]
async fn a_change_is_waited_for() {
    let health = Health::expecting(&["broker"]);
    health.until(false).await;
    let owner = async {
        tokio::task::yield_now().await;
        health.set("broker", Ok(()));
    };
    tokio::join!(health.until(true), owner);
    assert!(health.ready());
}
