//! Submissions: all problems at once, nothing spent on a refusal, the same submission twice is one job.

use clara_lifecycle::{
    id::Attempt,
    job::StageState,
    resources::{ResourceClass, Resources},
    samples,
    stage::Stage,
};
use clara_runtime::state::StateStore;

use super::*;
use crate::testing::{House, golden};

#[derive(Debug)]
struct NoModel;

impl SubmissionCheck for NoModel {
    fn problems(&self, spec: &JobSpec) -> Vec<SpecProblem> {
        vec![SpecProblem { field: "base_model", message: format!("`{}` is not there", spec.base_model) }]
    }
}

#[tokio::test]
async fn a_refusal_names_every_problem_and_spends_nothing() {
    let house = House::empty();
    let mut spec = samples::spec();
    spec.priority = 12;
    spec.training.rank = 0;
    let refused = house.driver.submit(spec, Some(&NoModel), Submission::New).await.unwrap_err().to_string();
    for part in
        ["training.rank", "priority", "base_model `model.gguf` is not there", "golden_dataset", "law-golden"]
    {
        assert!(refused.contains(part), "{part} is missing in: {refused}");
    }
    let jobs = house.jobs().await;
    assert!(jobs.is_empty());
    let later = house.state.now().await.unwrap().after(std::time::Duration::from_hours(1));
    assert!(house.state.outbox(later, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_golden_dataset_that_is_only_a_draft_is_refused_with_the_way_out() {
    let house = House::empty();
    house.driver.put_golden(golden("1.0.0"), false).await.unwrap();
    let refused = house.driver.submit(samples::spec(), None, Submission::New).await.unwrap_err().to_string();
    assert!(refused.contains("clara golden freeze law-golden"), "{refused}");
}

#[tokio::test]
async fn a_dry_run_queues_nothing() {
    let house = House::new().await;
    let submitted = house.driver.submit(samples::spec(), None, Submission::DryRun).await.unwrap();
    assert_eq!(submitted, Submitted { job: None, created: false });
    let jobs = house.jobs().await;
    assert!(jobs.is_empty());
}

#[tokio::test]
async fn a_job_pins_the_newest_frozen_golden_dataset_and_queues_its_first_stage() {
    let house = House::new().await;
    house.driver.put_golden(golden("1.10.0"), false).await.unwrap();
    house.driver.freeze_golden(&golden("1.10.0").dataset_id, "anna", &house.artifacts).await.unwrap();
    let job = house.submit(samples::spec()).await;
    assert_eq!(job.golden.reference, "law-golden@1.10.0");
    assert_eq!(job.golden.digest, golden("1.10.0").digest());
    assert!(matches!(job.stages.get(Stage::Ingest).state, StageState::Queued { .. }));
    let waiting = house.state.outbox(house.state.now().await.unwrap(), 10).await.unwrap();
    let tasks: Vec<_> =
        waiting.iter().map(|entry| (&entry.task.job, entry.task.stage, entry.task.attempt)).collect();
    assert_eq!(tasks, [(&job.id, Stage::Ingest, Attempt::FIRST)]);
}

#[tokio::test]
async fn two_submissions_with_one_idempotency_key_are_one_job() {
    let house = House::new().await;
    let spec = JobSpec { idempotency_key: Some("order-7".to_owned()), ..samples::spec() };
    let first = house.driver.submit(spec.clone(), None, Submission::New).await.unwrap();
    let second = house.driver.submit(spec, None, Submission::New).await.unwrap();
    assert!(first.created && !second.created);
    assert_eq!(first.job.unwrap().id, second.job.unwrap().id);
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_at_the_same_moment_with_one_key_are_one_job() {
    let house = House::new().await;
    let spec = JobSpec { idempotency_key: Some("order-8".to_owned()), ..samples::spec() };
    let mut submissions = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (driver, spec) = (house.driver.clone(), spec.clone());
        submissions.spawn(async move { driver.submit(spec, None, Submission::New).await.unwrap() });
    }
    let submitted = submissions.join_all().await;
    assert_eq!(submitted.iter().filter(|submitted| submitted.created).count(), 1);
    let jobs = house.jobs().await;
    assert_eq!(jobs.len(), 1);
}

#[tokio::test]
async fn an_unfinished_job_with_the_same_specification_is_resumed() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await;
    let again = house.driver.submit(samples::spec(), None, Submission::ResumeUnfinished).await.unwrap();
    assert_eq!((again.job.unwrap().id, again.created), (job.id.clone(), false));
    let other = JobSpec { priority: 6, ..samples::spec() };
    let other = house.driver.submit(other, None, Submission::ResumeUnfinished).await.unwrap();
    assert_ne!(other.job.unwrap().id, job.id);
}

#[tokio::test]
async fn a_finished_job_is_not_resumed() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await;
    house.driver.apply(&job.id, clara_lifecycle::job::Event::CancelRequested).await.unwrap();
    let again = house.driver.submit(samples::spec(), None, Submission::ResumeUnfinished).await.unwrap();
    assert!(again.created);
}

#[tokio::test]
async fn a_resource_class_that_nobody_named_is_refused_with_those_that_are_known() {
    let house = House::new().await;
    let gpu80 = ResourceClass { name: "gpu80".parse().unwrap(), needs: Resources::default() };
    let driver = Driver { classes: [ResourceClass::default_class(), gpu80].into(), ..house.driver.clone() };
    let asking = |class: &str| JobSpec { resource_class: class.parse().unwrap(), ..samples::spec() };
    let refused = driver.submit(asking("gpu96"), None, Submission::New).await.unwrap_err().to_string();
    assert!(
        refused.contains("resource_class `gpu96` is not known; expected one of default, gpu80"),
        "{refused}"
    );
    assert!(driver.submit(asking("gpu80"), None, Submission::New).await.unwrap().created);
}
