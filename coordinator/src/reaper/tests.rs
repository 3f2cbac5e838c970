//! The reaper: silent and idle workers lose their lease, live ones keep it, lost tasks come again.

use clara_lifecycle::{attempt::Progress, samples};
use clara_runtime::state::StateStore;

use super::*;
use crate::testing::{House, TERMS, claim};

#[tokio::test]
async fn a_silent_worker_loses_its_lease_and_the_attempt_is_repeated() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let key = claim(&house.driver, &job, Stage::Ingest).await;
    house.clock.advance(TERMS.ttl.checked_sub(Duration::from_secs(1)).unwrap());
    look_at_due(&house.driver).await.unwrap();
    assert!(matches!(house.job(&job).await.stages.get(Stage::Ingest).state, StageState::Leased(_)));
    house.clock.advance(Duration::from_secs(2));
    look_at_due(&house.driver).await.unwrap();
    let after = house.job(&job).await;
    let record = after.stages.get(Stage::Ingest);
    assert!(matches!(record.state, StageState::Queued { .. }));
    assert_eq!(record.attempt, key.attempt.next());
    assert!(record.last_failure.as_ref().unwrap().message.contains("worker-1 sent no heartbeat"));
}

#[tokio::test]
async fn a_worker_that_beats_without_progress_loses_its_lease_at_the_progress_deadline() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let key = claim(&house.driver, &job, Stage::Ingest).await;
    for _ in 0..31 {
        house.clock.advance(Duration::from_secs(20));
        look_at_due(&house.driver).await.unwrap();
        let beat = Event::Heartbeat { key, progress: Progress::default(), terms: TERMS };
        if house.driver.apply(&job, beat).await.is_err() {
            break;
        }
    }
    let failure = house.job(&job).await.stages.get(Stage::Ingest).last_failure.clone();
    assert!(failure.unwrap().message.contains("made no progress"));
}

#[tokio::test]
async fn a_job_whose_workers_keep_dying_gets_stuck_with_the_reason() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    for _ in 0..samples::spec().retry.max_attempts {
        claim(&house.driver, &job, Stage::Ingest).await;
        house.clock.advance(TERMS.ttl + Duration::from_mins(1));
        look_at_due(&house.driver).await.unwrap();
    }
    assert_eq!(house.job(&job).await.state, JobState::Stuck { stage: Stage::Ingest });
    house.driver.apply(&job, Event::RetryRequested { from: None }).await.unwrap();
    assert_eq!(house.job(&job).await.state, JobState::Waiting { stage: Stage::Ingest });
}

/// How many tasks the outbox holds.
async fn published(house: &House) -> usize {
    let now = house.state.now().await.unwrap();
    let entries = house.state.outbox(now, 9).await.unwrap();
    for entry in &entries {
        house.state.settle(std::slice::from_ref(&entry.text)).await.unwrap();
    }
    entries.len()
}

#[tokio::test]
async fn a_task_that_nobody_claimed_is_published_again() {
    let house = House::new().await;
    house.submit(samples::spec()).await;
    assert_eq!(published(&house).await, 1);
    look_at_due(&house.driver).await.unwrap();
    assert_eq!(published(&house).await, 0);
    house.clock.advance(Duration::from_secs(61));
    look_at_due(&house.driver).await.unwrap();
    look_at_due(&house.driver).await.unwrap();
    assert_eq!(published(&house).await, 1);
}

#[tokio::test]
async fn a_claimed_task_is_not_published_again() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    claim(&house.driver, &job, Stage::Ingest).await;
    assert_eq!(published(&house).await, 1);
    house.clock.advance(Duration::from_secs(29));
    look_at_due(&house.driver).await.unwrap();
    assert_eq!(published(&house).await, 0);
}
