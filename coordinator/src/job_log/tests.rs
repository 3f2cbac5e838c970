//! Lines are kept once, found again from any place, bounded, and streamed until the job is at rest.

use clara_lifecycle::{id::Attempt, job::Event, log::LogLevel, samples, stage::Stage, time::Timestamp};

use super::*;
use crate::testing::{House, claim};

fn lines(numbers: impl IntoIterator<Item = u64>) -> Vec<LogLine> {
    let line = |number| LogLine {
        number,
        at: Timestamp(1_700_000_000_000),
        level: LogLevel::Info,
        target: "clara_ingest_worker".to_owned(),
        message: format!("line {number}"),
    };
    numbers.into_iter().map(line).collect()
}

async fn read(house: &House, job: &JobId, after: LogPosition) -> Vec<(u64, u64)> {
    let mut cursor = LogCursor::after(job.clone(), after);
    let mut found = Vec::new();
    loop {
        let (parts, more) = house.driver.read_log(&mut cursor, 2).await.unwrap();
        for part in parts {
            found.extend(part.lines.iter().map(|line| (part.fence.0, line.number)));
        }
        if !more {
            return found;
        }
    }
}

fn numbers(fence: Fence, numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
    numbers.into_iter().map(|number| (fence.0, number)).collect()
}

#[tokio::test]
async fn repeated_and_overlapping_lines_are_told_once() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let key = claim(&house.driver, &job, Stage::Ingest).await;
    for range in [1..=3, 1..=3, 4..=5, 4..=9, 8..=12, 4..=5] {
        house.driver.append_log(&job, key, lines(range)).await.unwrap();
    }
    assert_eq!(read(&house, &job, LogPosition::default()).await, numbers(key.fence, 1..=12));
    let known = LogPosition { fence: key.fence, line: 4 };
    assert_eq!(read(&house, &job, known).await, numbers(key.fence, 5..=12));
}

#[tokio::test]
async fn lines_of_an_attempt_that_lost_its_lease_are_kept_before_those_of_the_next() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let late = claim(&house.driver, &job, Stage::Ingest).await;
    house.driver.apply(&job, Event::HandedBack { key: late }).await.unwrap();
    let live = claim(&house.driver, &job, Stage::Ingest).await;
    house.driver.append_log(&job, live, lines(1..=1)).await.unwrap();
    house.driver.append_log(&job, late, lines(1..=2)).await.unwrap();
    let both = [numbers(late.fence, 1..=2), numbers(live.fence, 1..=1)].concat();
    assert_eq!(read(&house, &job, LogPosition::default()).await, both);
}

#[tokio::test]
async fn of_a_long_log_the_newest_lines_are_kept() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let key = claim(&house.driver, &job, Stage::Ingest).await;
    for hundred in 0..30 {
        house.driver.append_log(&job, key, lines(hundred * 100 + 1..=hundred * 100 + 100)).await.unwrap();
    }
    assert_eq!(read(&house, &job, LogPosition::default()).await, numbers(key.fence, 1001..=3000));
}

#[tokio::test]
async fn lines_of_unknown_jobs_and_attempts_and_lines_out_of_order_are_refused() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let key = claim(&house.driver, &job, Stage::Ingest).await;
    let unknown = "job-gone".parse().unwrap();
    let refused = house.driver.append_log(&unknown, key, lines(1..=1)).await.unwrap_err();
    assert!(matches!(refused, DriverError::UnknownJob { .. }), "{refused}");
    let invented = AttemptKey { fence: Fence(99), attempt: Attempt(9), ..key };
    for (key, lines) in [(invented, lines(1..=1)), (key, lines([2, 1]))] {
        let refused = house.driver.append_log(&job, key, lines).await.unwrap_err();
        assert!(matches!(refused, DriverError::Invalid(_)), "{refused}");
    }
    house.driver.append_log(&job, key, Vec::new()).await.unwrap();
    assert!(read(&house, &job, LogPosition::default()).await.is_empty());
}

#[tokio::test]
async fn jobs_do_not_see_each_other() {
    let house = House::new().await;
    let mut keys = Vec::new();
    for order in ["first", "second"] {
        let labels = [("order".to_owned(), order.to_owned())].into();
        let job = house.submit(clara_lifecycle::spec::JobSpec { labels, ..samples::spec() }).await.id;
        let key = claim(&house.driver, &job, Stage::Ingest).await;
        house.driver.append_log(&job, key, lines(1..=2)).await.unwrap();
        keys.push((job, key));
    }
    for (job, key) in keys {
        assert_eq!(read(&house, &job, LogPosition::default()).await, numbers(key.fence, 1..=2));
    }
}
