//! What is removed, what stays, and what keeps it.

use clara_lifecycle::{artifact::ArtifactRef, gate::Decision, results::StageResult, samples, stage::Stage};

use super::*;
use crate::testing::{House, complete, result, training};

const DAY: Duration = Duration::from_hours(24);

/// A job with real files in every stage, taken to the gate's decision.
async fn judged(house: &House, decision: Decision) -> JobId {
    let job = house.submit(samples::spec()).await.id;
    for stage in Stage::ALL {
        let mut made = result(stage, decision);
        match &mut made {
            StageResult::Ingest(ingest) => ingest.dataset = stored(house, &job, "dataset").await,
            StageResult::Train(trained) => {
                *trained = training("tiny");
                trained.adapter = stored(house, &job, "adapter").await;
                trained.report = stored(house, &job, "report").await;
            }
            StageResult::Generate(generated) => generated.answers = stored(house, &job, "answers").await,
            StageResult::Judge(judged) => judged.evaluation = stored(house, &job, "evaluation").await,
            StageResult::Gate(_) | StageResult::Rollout(_) => {}
        }
        if complete(&house.driver, &job, made).await.unwrap().is_at_rest() {
            break;
        }
    }
    stored(house, &job, "attempt-that-failed").await;
    job
}

async fn stored(house: &House, job: &JobId, name: &str) -> ArtifactRef {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), name).unwrap();
    house.artifacts.put_folder(&format!("jobs/{job}/stage/{name}"), folder.path()).await.unwrap()
}

fn options(dry_run: bool) -> GarbageOptions {
    GarbageOptions { dry_run, grace: Duration::ZERO, jobs_older_than: None }
}

/// The names of the artifacts of a job that are there.
async fn left(house: &House, job: &JobId) -> Vec<String> {
    let objects = house.artifacts.objects(&format!("jobs/{job}")).await.unwrap();
    objects.iter().map(|object| object.path.split('/').nth(3).unwrap().to_owned()).collect()
}

/// The house's clock stands in the past; files are of today.
fn today(house: &House) {
    house.clock.advance(Duration::from_hours(24 * 365 * 50));
}

#[tokio::test]
async fn a_dry_run_tells_what_would_go_and_removes_nothing() {
    let house = House::new().await;
    let job = judged(&house, Decision::Reject).await;
    today(&house);
    let report = house.driver.collect_garbage(options(true), &house.artifacts).await.unwrap();
    assert_eq!((report.removed_files, report.versions), (4, vec!["law-lora-v1.0.0".to_owned()]));
    assert_eq!(left(&house, &job).await.len(), 6);
    assert!(house.driver.adapter("law-lora-v1.0.0").await.unwrap().version.files_removed_at.is_none());
}

#[tokio::test]
async fn a_rejected_version_gives_up_its_files_and_keeps_its_evaluation() {
    let house = House::new().await;
    let job = judged(&house, Decision::Reject).await;
    today(&house);
    let report = house.driver.collect_garbage(options(false), &house.artifacts).await.unwrap();
    assert_eq!(left(&house, &job).await, ["answers", "evaluation"]);
    let bytes = ["adapter", "dataset", "report", "attempt-that-failed"].map(str::len).iter().sum::<usize>();
    assert_eq!((report.removed_files, report.removed_bytes), (4, bytes as u64));
    assert_eq!(report.kept["evaluation of law-lora-v1.0.0"].files, 2);
    let version = house.driver.adapter("law-lora-v1.0.0").await.unwrap().version;
    assert!(version.files_removed_at.is_some());
    let again = house.driver.collect_garbage(options(false), &house.artifacts).await.unwrap();
    assert_eq!(again.removed_files, 0);
    let refused =
        house.driver.verify_adapter("law-lora-v1.0.0", &house.artifacts).await.unwrap_err().to_string();
    assert!(refused.contains("were removed by `clara registry gc`"), "{refused}");
}

#[tokio::test]
async fn what_is_in_use_or_under_way_or_unknown_stays() {
    let house = House::new().await;
    let approved = judged(&house, Decision::Approve).await;
    let in_review = judged(&house, Decision::Review).await;
    let unknown: JobId = "job-unknown".parse().unwrap();
    stored(&house, &unknown, "adapter").await;
    today(&house);
    let report = house.driver.collect_garbage(options(false), &house.artifacts).await.unwrap();
    assert_eq!(left(&house, &approved).await, ["adapter", "answers", "dataset", "evaluation", "report"]);
    assert_eq!(left(&house, &in_review).await.len(), 6);
    assert_eq!(left(&house, &unknown).await, ["adapter"]);
    assert_eq!(report.kept["a job that the state store does not know"].files, 1);
    assert_eq!(report.kept["golden dataset law-golden@1.0.0"].files, 1);
    assert_eq!(
        report.removed.keys().collect::<Vec<_>>(),
        [&format!("jobs/{approved}/stage/attempt-that-failed")]
    );
}

#[tokio::test]
async fn an_alias_and_the_grace_time_keep_a_rejected_version() {
    let house = House::new().await;
    let job = judged(&house, Decision::Reject).await;
    today(&house);
    let patient = GarbageOptions { grace: DAY * 365 * 100, ..options(false) };
    let report = house.driver.collect_garbage(patient, &house.artifacts).await.unwrap();
    assert_eq!((report.removed_files, report.kept["the grace time"].files), (0, 1));
    let wish = super::super::AliasChange {
        family_id: "law-lora".to_owned(),
        alias: "study".parse().unwrap(),
        to: Some("1.0.0".to_owned()),
        expected: clara_lifecycle::adapter::Expected::Anything,
        actor: "anna".to_owned(),
        reason: "how it failed".to_owned(),
    };
    house.driver.move_alias(&wish).await.unwrap();
    let report = house.driver.collect_garbage(options(false), &house.artifacts).await.unwrap();
    assert_eq!((report.versions.len(), left(&house, &job).await.len()), (0, 5));
}

#[tokio::test]
async fn a_job_that_goes_on_again_is_seen_before_its_files_are_removed() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let path = format!("jobs/{job}/train/attempt-1-fence-1/file");
    assert!(house.driver.goes_on(&path, &mut BTreeMap::new()).await.unwrap());
    house.driver.apply(&job, clara_lifecycle::job::Event::CancelRequested).await.unwrap();
    assert!(!house.driver.goes_on(&path, &mut BTreeMap::new()).await.unwrap());
    for other in ["jobs/job-unknown/train/file", "golden/law-golden/file"] {
        assert!(!house.driver.goes_on(other, &mut BTreeMap::new()).await.unwrap(), "{other}");
    }
}

#[tokio::test]
async fn what_a_judge_replied_stays_while_its_job_has_a_record() {
    let house = House::new().await;
    let job = judged(&house, Decision::Reject).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("reply"), "paid for").unwrap();
    house.artifacts.put_folder(&format!("jobs/{job}/judge/replies"), folder.path()).await.unwrap();
    today(&house);
    house.driver.collect_garbage(options(false), &house.artifacts).await.unwrap();
    assert_eq!(left(&house, &job).await, ["replies", "answers", "evaluation"]);
    let old = GarbageOptions { jobs_older_than: Some(DAY), ..options(false) };
    let report = house.driver.collect_garbage(old, &house.artifacts).await.unwrap();
    assert_eq!(report.jobs, [job.to_string()]);
    assert_eq!(left(&house, &job).await, ["answers", "evaluation"]);
}

#[tokio::test]
async fn records_of_old_jobs_are_removed_whole_unless_their_versions_need_them() {
    let house = House::new().await;
    let mut spec = samples::spec();
    spec.idempotency_key = Some("once".to_owned());
    let job = house.submit(spec.clone()).await.id;
    house.driver.apply(&job, clara_lifecycle::job::Event::CancelRequested).await.unwrap();
    let approved = judged(&house, Decision::Approve).await;
    let in_review = judged(&house, Decision::Review).await;
    today(&house);
    let old = GarbageOptions { jobs_older_than: Some(DAY), ..options(false) };
    let report = house.driver.collect_garbage(old, &house.artifacts).await.unwrap();
    assert_eq!(report.jobs, [job.to_string()]);
    let left: Vec<JobId> = house.jobs().await.into_iter().map(|job| job.id).collect();
    assert_eq!(left, [approved, in_review]);
    assert!(house.driver.adapter("law-lora-v1.0.0").await.is_ok());
    assert_ne!(house.submit(spec).await.id, job, "its idempotency key is free again");
}

#[tokio::test]
async fn a_job_is_not_forgotten_before_its_files_may_go() {
    let house = House::new().await;
    let job = judged(&house, Decision::Reject).await;
    today(&house);
    let patient = GarbageOptions { grace: DAY * 365 * 100, jobs_older_than: Some(DAY), ..options(false) };
    let report = house.driver.collect_garbage(patient, &house.artifacts).await.unwrap();
    assert_eq!((report.jobs, report.removed_files), (Vec::new(), 0));
    let old = GarbageOptions { jobs_older_than: Some(DAY), ..options(false) };
    house.driver.collect_garbage(old, &house.artifacts).await.unwrap();
    assert_eq!(
        left(&house, &job).await,
        ["answers", "evaluation"],
        "no file of a forgotten job is left over"
    );
}
