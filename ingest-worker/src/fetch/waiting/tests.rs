//! What whoever waits is told, in paused time.

use super::*;

async fn told(work: impl Future<Output = ()>) -> Vec<String> {
    let told = Mutex::new(Vec::new());
    heard(watched(("@gesetze", NO_ANSWER), work, |waiting| told.lock().push(waiting.to_string()))).await;
    told.into_inner()
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_told_the_problem_the_try_and_when_it_is_given_up() {
    let told = told(async {
        let end = Instant::now() + Duration::from_mins(10);
        asked_again("connection refused", end);
        asked_again("connection refused", end);
        tokio::time::sleep(Duration::from_secs(6)).await;
    })
    .await;
    assert_eq!(told, ["waiting for @gesetze: connection refused; try 3, giving up in 9 min"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_only_hangs_is_told_too_and_a_quick_one_is_not() {
    let hangs = told(tokio::time::sleep(Duration::from_secs(11))).await;
    assert_eq!(hangs, ["waiting for @gesetze: no answer yet"; 2]);
    assert!(told(tokio::time::sleep(Duration::from_secs(1))).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_the_trouble() {
    heard(async {
        asked_again("status 503", Instant::now() + Duration::from_mins(1));
        answered();
        assert_eq!(now("@gesetze", NO_ANSWER).to_string(), "waiting for @gesetze: no answer yet");
    })
    .await;
    // Without a listener nothing happens.
    asked_again("status 503", Instant::now());
}
