//! Leases by stage, and waits by queue.

use clara_lifecycle::{id::ClassName, job::Event, samples};

use super::*;
use crate::testing::{House, claim};

fn queue(stage: Stage) -> QueueName {
    QueueName::served(stage, &[ClassName::default()])
        .into_iter()
        .find(|queue| queue.band == clara_lifecycle::resources::PriorityBand::of(samples::spec().priority))
        .unwrap()
}

/// The store's clock gains a millisecond with each commit.
fn waits(census: &Census) -> Vec<(QueueName, u128)> {
    let seconds = |waited: Duration| (waited.as_millis() + 500) / 1000;
    census.waits.iter().map(|(queue, waits)| (queue.clone(), seconds(waits.longest))).collect()
}

#[tokio::test]
async fn a_task_waits_until_it_is_claimed_and_is_a_lease_then() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    house.clock.advance(Duration::from_secs(40));
    let later = samples::spec();
    let labels = [("order".to_owned(), "second".to_owned())].into();
    house.submit(clara_lifecycle::spec::JobSpec { labels, ..later }).await;
    house.clock.advance(Duration::from_secs(2));
    let census = Census::take(&house.driver).await.unwrap();
    assert_eq!(census.leases, BTreeMap::new());
    assert_eq!(waits(&census), [(queue(Stage::Ingest), 42)]);
    assert_eq!(census.waits[&queue(Stage::Ingest)].tasks, 2);
    claim(&house.driver, &job, Stage::Ingest).await;
    let census = Census::take(&house.driver).await.unwrap();
    assert_eq!(census.leases, [(queue(Stage::Ingest), 1)].into());
    assert_eq!(waits(&census), [(queue(Stage::Ingest), 2)]);
}

#[tokio::test]
async fn a_task_whose_pause_is_not_over_does_not_wait_yet() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let key = claim(&house.driver, &job, Stage::Ingest).await;
    let failed = Event::Failed { key, message: "disk full".to_owned(), retryable: true };
    house.driver.apply(&job, failed).await.unwrap();
    assert_eq!(Census::take(&house.driver).await.unwrap(), Census::default());
}
