//! Jobs through all their stages, late and double reports, and the versions that trainings get.

use std::{collections::BTreeSet, sync::Arc};

use clara_lifecycle::{
    gate::Decision,
    id::JobId,
    job::{JobState, Outcome},
    results::TrainingResult,
    samples,
    spec::JobSpec,
};
use tokio::task::JoinSet;

use super::*;
use crate::testing::{House, claim, complete, complete_until, result, training};

#[tokio::test]
async fn an_approved_job_passes_every_stage_and_becomes_champion() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, None, Decision::Approve).await;
    let job = house.job(&job).await;
    assert_eq!(job.state, JobState::Finished { outcome: Outcome::Approved });
    assert_eq!(job.adapter_id.as_deref(), Some("law-lora-v1.0.0"));
    let view = house.driver.adapter("law-lora@champion").await.unwrap();
    assert_eq!(view.version.adapter_id, "law-lora-v1.0.0");
    assert_eq!(view.version.status, AdapterStatus::Approved);
    assert!((view.version.metrics["llm_judge_score"] - 88.0).abs() < 1e-9);
    let lineage = view.version.lineage.unwrap();
    assert_eq!(lineage.job, job.id);
    assert_eq!(lineage.golden_dataset, job.golden.reference);
    assert_eq!(lineage.golden_digest, job.golden.digest);
}

#[tokio::test]
async fn a_rejected_job_ends_with_its_adapter_rejected() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, None, Decision::Reject).await;
    assert_eq!(house.job(&job).await.state, JobState::Finished { outcome: Outcome::Rejected });
    let view = house.driver.adapter("law-lora-v1.0.0").await.unwrap();
    assert_eq!((view.version.status, view.champion), (AdapterStatus::Rejected, false));
}

#[tokio::test]
async fn a_judge_error_decides_nothing_about_the_adapter() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, None, Decision::Error).await;
    assert_eq!(house.job(&job).await.state, JobState::Finished { outcome: Outcome::Error });
    let view = house.driver.adapter("law-lora-v1.0.0").await.unwrap();
    assert_eq!(view.version.status, AdapterStatus::PendingReview);
}

#[tokio::test]
async fn a_report_that_comes_twice_changes_nothing() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    complete(&house.driver, &job, result(Stage::Ingest, Decision::Approve)).await.unwrap();
    let key = claim(&house.driver, &job, Stage::Train).await;
    let completed = Event::Completed { key, result: Arc::new(result(Stage::Train, Decision::Approve)) };
    let after = house.driver.apply(&job, completed.clone()).await.unwrap();
    let events = house.events(&job).await;
    let refused = house.driver.apply(&job, completed).await.unwrap_err();
    assert!(matches!(refused, DriverError::Rejected(Rejected::Duplicate)), "{refused}");
    assert_eq!(house.job(&job).await, *after);
    assert_eq!(house.events(&job).await, events);
}

#[tokio::test]
async fn a_report_of_an_attempt_that_was_taken_back_is_refused() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let late = claim(&house.driver, &job, Stage::Ingest).await;
    house.driver.apply(&job, Event::HandedBack { key: late }).await.unwrap();
    let live = claim(&house.driver, &job, Stage::Ingest).await;
    assert!(live.fence > late.fence);
    let completed =
        |key| Event::Completed { key, result: Arc::new(result(Stage::Ingest, Decision::Approve)) };
    let refused = house.driver.apply(&job, completed(late)).await.unwrap_err();
    assert!(matches!(refused, DriverError::Rejected(Rejected::StaleAttempt { .. })), "{refused}");
    house.driver.apply(&job, completed(live)).await.unwrap();
}

async fn trained(house: &House, spec: JobSpec, training: TrainingResult) -> Result<Job, DriverError> {
    let job = house.submit(spec).await.id;
    complete(&house.driver, &job, result(Stage::Ingest, Decision::Approve)).await?;
    complete(&house.driver, &job, StageResult::Train(training)).await
}

#[tokio::test]
async fn versions_follow_what_changed() {
    let house = House::new().await;
    let spec = samples::spec;
    let other_rank = || {
        let mut spec = spec();
        spec.training.rank = 8;
        spec
    };
    let by_hand = || JobSpec { version: Some("7.0.0".parse().unwrap()), ..other_rank() };
    let cases = [
        ("the first", spec(), "tiny", "1.0.0"),
        ("the same again", spec(), "tiny", "1.0.1"),
        ("another rank", other_rank(), "tiny", "1.1.0"),
        ("another base model", other_rank(), "small", "2.0.0"),
        ("by hand", by_hand(), "small", "7.0.0"),
        ("after one by hand", other_rank(), "small", "7.0.1"),
    ];
    for (case, spec, base_model, version) in cases {
        let job = trained(&house, spec, training(base_model)).await.unwrap();
        assert_eq!(job.adapter_id.unwrap(), format!("law-lora-v{version}"), "{case}");
    }
}

#[tokio::test]
async fn a_version_given_by_hand_that_is_not_greater_is_refused_before_anything_is_queued() {
    let house = House::new().await;
    trained(&house, samples::spec(), training("tiny")).await.unwrap();
    let spec = JobSpec { version: Some("1.0.0".parse().unwrap()), ..samples::spec() };
    let refused =
        house.driver.submit(spec, None, crate::submit::Submission::New).await.unwrap_err().to_string();
    assert!(refused.contains("version 1.0.0 is not greater than 1.0.0"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_trainings_at_the_same_moment_get_sixty_four_versions() {
    const JOBS: usize = 64;
    let house = House::new().await;
    let mut claimed = Vec::new();
    for _ in 0..JOBS {
        let job = house.submit(samples::spec()).await.id;
        complete(&house.driver, &job, result(Stage::Ingest, Decision::Approve)).await.unwrap();
        claimed.push((job.clone(), claim(&house.driver, &job, Stage::Train).await));
    }
    let mut reports = JoinSet::new();
    for (job, key) in claimed {
        let driver = house.driver.clone();
        reports.spawn(async move {
            let result = Arc::new(result(Stage::Train, Decision::Approve));
            driver.apply(&job, Event::Completed { key, result }).await
        });
    }
    let mut versions = BTreeSet::new();
    for job in reports.join_all().await {
        versions.insert(job.unwrap().adapter_id.clone().unwrap());
    }
    assert_eq!(versions.len(), JOBS);
    let family = house.driver.records.family("law-lora").await.unwrap().unwrap().value;
    assert_eq!(family.versions.len(), JOBS);
    let (entries, broken) = house.driver.audit_log(None).await.unwrap();
    assert_eq!(broken, None);
    assert_eq!(entries.iter().filter(|entry| entry.action == "adapter.registered").count(), JOBS);
}

#[tokio::test]
async fn the_champion_is_what_the_next_candidate_is_compared_with() {
    let house = House::new().await;
    let first = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &first, None, Decision::Approve).await;
    let second = trained(&house, samples::spec(), training("tiny")).await.unwrap();
    let other_base = trained(&house, samples::spec(), training("small")).await.unwrap();
    let family = house.driver.records.family("law-lora").await.unwrap().unwrap().value;
    assert_eq!(champion_for(&second, &family).unwrap().adapter_id, "law-lora-v1.0.0");
    assert_eq!(champion_for(&other_base, &family), None);
    assert_eq!(champion_for(&house.job(&first).await, &family), None);
}

#[tokio::test]
async fn a_cancelled_job_refuses_its_worker() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let key = claim(&house.driver, &job, Stage::Ingest).await;
    house.driver.apply(&job, Event::CancelRequested).await.unwrap();
    let completed = Event::Completed { key, result: Arc::new(result(Stage::Ingest, Decision::Approve)) };
    let refused = house.driver.apply(&job, completed).await.unwrap_err();
    assert!(matches!(refused, DriverError::Rejected(Rejected::Cancelled)), "{refused}");
}

#[tokio::test]
async fn a_job_that_is_not_there_is_named() {
    let house = House::empty();
    let job: JobId = "job-nowhere".parse().unwrap();
    let refused = house.driver.apply(&job, Event::CancelRequested).await.unwrap_err().to_string();
    assert_eq!(refused, "there is no job job-nowhere; `clara job list` shows all");
}
