//! Jobs come back from the store as they were committed, at every stage, after failures and retries.

use std::{collections::BTreeSet, sync::Arc};

use clara_lifecycle::{gate::Decision, job::Event, retry::Failure, samples};

use super::*;
use crate::testing::{House, claim, result};

/// Which parts the job's record has.
async fn parts(house: &House, job: &JobId) -> BTreeSet<String> {
    let record = house.driver.records.state.load(&job_key(job)).await.unwrap().unwrap();
    record.parts.into_keys().collect()
}

#[tokio::test]
async fn a_job_is_read_as_it_was_committed_after_every_event() {
    let house = House::new().await;
    let submitted = house.submit(samples::spec()).await;
    let job = submitted.id.clone();
    assert_eq!(house.job(&job).await, submitted);
    let mut wanted = BTreeSet::from([ASKED.to_owned()]);
    for stage in Stage::ALL {
        let key = claim(&house.driver, &job, stage).await;
        assert!(matches!(house.job(&job).await.stages.get(stage).state, StageState::Leased(_)));
        assert_eq!(parts(&house, &job).await, wanted);
        let done = Event::Completed { key, result: Arc::new(result(stage, Decision::Approve)) };
        let after = house.driver.apply(&job, done).await.unwrap();
        assert_eq!(house.job(&job).await, *after);
        wanted.insert(part_of(stage));
        assert_eq!(parts(&house, &job).await, wanted);
    }
}

#[tokio::test]
async fn failures_are_kept_and_a_stage_that_is_done_again_has_its_new_result() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let key = claim(&house.driver, &job, Stage::Ingest).await;
    let failed = Event::Failed { key, message: "the disk was away".to_owned(), retryable: false };
    let after = house.driver.apply(&job, failed).await.unwrap();
    assert_eq!(house.job(&job).await, *after);
    let failure: Option<Failure> = after.stages.get(Stage::Ingest).last_failure.clone();
    assert!(failure.is_some());

    let documents = |read: u64| match result(Stage::Ingest, Decision::Approve) {
        StageResult::Ingest(dataset) => {
            StageResult::Ingest(clara_lifecycle::results::DatasetResult { documents_read: read, ..dataset })
        }
        other => other,
    };
    for read in [12, 13] {
        let retry = Event::RetryRequested { from: Some(Stage::Ingest) };
        house.driver.apply(&job, retry).await.unwrap();
        house.driver.apply(&job, Event::Admitted).await.unwrap();
        let before = house.job(&job).await;
        assert_eq!(before.result(Stage::Ingest), None);
        let key = claim(&house.driver, &job, Stage::Ingest).await;
        let done = Event::Completed { key, result: Arc::new(documents(read)) };
        house.driver.apply(&job, done).await.unwrap();
        let key = claim(&house.driver, &job, Stage::Train).await;
        let failed = Event::Failed { key, message: "no room".to_owned(), retryable: false };
        let after = house.driver.apply(&job, failed).await.unwrap();
        assert_eq!(house.job(&job).await, *after);
        assert_eq!(after.result(Stage::Ingest), Some(&documents(read)));
    }
}

#[tokio::test]
async fn a_job_with_a_part_that_is_missing_or_damaged_is_refused_by_name() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let key = claim(&house.driver, &job, Stage::Ingest).await;
    let done = Event::Completed { key, result: Arc::new(result(Stage::Ingest, Decision::Approve)) };
    house.driver.apply(&job, done).await.unwrap();
    let record = house.driver.records.state.load(&job_key(&job)).await.unwrap().unwrap();
    for part in [ASKED.to_owned(), part_of(Stage::Ingest)] {
        let (mut missing, mut damaged) = (record.clone(), record.clone());
        missing.parts.remove(&part);
        damaged.parts.insert(part.clone(), "{".to_owned());
        for broken in [missing, damaged] {
            let error = job_of(&broken).unwrap_err().to_string();
            assert!(error.contains(&format!("`{part}`")) && error.contains(job.as_str()), "{error}");
        }
    }
}

/// The names of the parts that an event has written.
fn written(before: Option<&Job>, after: &Job) -> Vec<String> {
    let write = write(before, &Stored { version: Some(1), value: after }).unwrap();
    let Body::Put { parts, .. } = write.body else { panic!("{write:?}") };
    parts.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn a_part_is_written_once() {
    let house = House::new().await;
    let submitted = house.submit(samples::spec()).await;
    let job = submitted.id.clone();
    assert_eq!(written(None, &submitted), [ASKED]);
    let key = claim(&house.driver, &job, Stage::Ingest).await;
    let claimed = house.job(&job).await;
    assert_eq!(written(Some(&submitted), &claimed), [""; 0]);
    let done = Event::Completed { key, result: Arc::new(result(Stage::Ingest, Decision::Approve)) };
    let done = house.driver.apply(&job, done).await.unwrap();
    assert_eq!(written(Some(&claimed), &done), [part_of(Stage::Ingest)]);
    let cancelled = house.driver.apply(&job, Event::CancelRequested).await.unwrap();
    assert_eq!(written(Some(&done), &cancelled), [""; 0]);
    assert_eq!(house.job(&job).await, *cancelled);
}
