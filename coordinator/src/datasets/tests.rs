//! Which datasets are listed, how they are named, and what an ingest is given of them.

use std::collections::BTreeMap;

use clara_lifecycle::{
    dataset::DropReason,
    gate::Decision,
    job::Verdict,
    samples,
    spec::{JobSpec, Method},
};
use clara_proto::v1;
use futures::TryStreamExt as _;

use super::*;
use crate::{
    registry::Review,
    testing::{House, claim, complete, result, training},
};

/// A stored dataset whose records say `content`, as the result of an ingest.
async fn stored(house: &House, prefix: &str, content: &str) -> DatasetResult {
    let folder = tempfile::tempdir().unwrap();
    let manifest = serde_json::json!({
        "format": 1, "domain": "law", "query": null, "sources": ["law.jsonl"],
        "source_digest": samples::digest("s"), "source_files": [], "skipped_files": [], "most_relevant": [],
        "documents_read": 12, "documents_kept": 10, "dropped": { "duplicate": 2 }, "validation_documents": 1,
        "train_records": 9, "validation_records": 1, "train_digest": samples::digest("t"),
        "validation_digest": samples::digest("v"), "golden_overlap": null,
    });
    std::fs::write(folder.path().join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::write(folder.path().join("train.jsonl"), content).unwrap();
    let dataset = house.artifacts.put_folder(prefix, folder.path()).await.unwrap();
    let StageResult::Ingest(made) = result(Stage::Ingest, Decision::Approve) else { panic!("no dataset") };
    let dropped = BTreeMap::from([(DropReason::Duplicate, 2)]);
    DatasetResult { dataset, dropped, key: Some(Digest::of(content.as_bytes())), ..made }
}

/// A job that made a dataset with this content.
async fn ingested(house: &House, spec: JobSpec, content: &str) -> Job {
    let job = house.submit(spec).await.id;
    let made = stored(house, &format!("jobs/{job}/ingest/attempt-1-fence-1/dataset"), content).await;
    complete(&house.driver, &job, StageResult::Ingest(made)).await.unwrap()
}

fn other_domain() -> JobSpec {
    JobSpec { domain: "tax".parse().unwrap(), ..samples::spec() }
}

#[tokio::test]
async fn the_same_content_is_one_dataset_with_all_its_jobs_and_versions() {
    let house = House::new().await;
    let first = ingested(&house, samples::spec(), "one").await;
    let second = ingested(&house, samples::spec(), "one").await;
    complete(&house.driver, &second.id, StageResult::Train(training("tiny"))).await.unwrap();
    let other = ingested(&house, other_domain(), "two").await;
    let all = house.driver.datasets(None, 0).await.unwrap();
    assert_eq!(all.len(), 2);
    let law = house.driver.datasets(Some(&"law".parse().unwrap()), 0).await.unwrap();
    assert_eq!(law[0].jobs, [second.id.clone(), first.id.clone()]);
    assert_eq!(law[0].adapters, ["law-lora-v1.0.0"]);
    assert_eq!((law[0].documents_read, law[0].train_records), (Some(12), Some(9)));
    for name in [first.id.as_str(), "law-lora-v1.0.0", law[0].digest.short(), law[0].digest.as_str()] {
        assert_eq!(house.driver.dataset(name).await.unwrap().digest, law[0].digest, "{name}");
    }
    assert_ne!(house.driver.dataset(other.id.as_str()).await.unwrap().digest, law[0].digest);
}

#[tokio::test]
async fn a_name_that_names_nothing_says_what_names_do() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let refused = house.driver.dataset(job.as_str()).await.unwrap_err().to_string();
    assert!(refused.contains("has no dataset yet"), "{refused}");
    for name in ["abc", "law-lora-v9.9.9", "ffffffff", ""] {
        let refused = house.driver.dataset(name).await.unwrap_err();
        assert!(matches!(refused, DriverError::UnknownDataset { .. }), "{name}: {refused}");
    }
    let refused = house.driver.datasets(None, 1_001).await.unwrap_err().to_string();
    assert!(refused.contains("expected 1 to 1000"), "{refused}");
}

#[tokio::test]
async fn files_are_read_from_whichever_copy_is_there() {
    let house = House::new().await;
    let first = ingested(&house, samples::spec(), "one").await;
    let second = ingested(&house, samples::spec(), "one").await;
    let prefix = |job: &Job| made_by(job).unwrap().dataset.prefix.clone();
    let remove = async |job: &Job| {
        for file in ["manifest.json", "train.jsonl"] {
            house.artifacts.remove(&format!("{}/{file}", prefix(job))).await.unwrap();
        }
    };
    remove(&second).await;
    let control = house.control();
    let parts = control.dataset_file(first.id.as_str(), "train.jsonl").await.unwrap();
    let parts: Vec<_> = parts.try_collect().await.unwrap();
    assert_eq!(parts.concat(), b"one");
    let refused = control.dataset_file(first.id.as_str(), "../train.jsonl").await.err().unwrap().to_string();
    assert!(refused.contains("has no file ../train.jsonl; it has manifest.json, train.jsonl"), "{refused}");
    remove(&first).await;
    let refused = control.dataset(first.id.as_str()).await.unwrap_err().to_string();
    assert!(refused.contains("not in the artifact store any more"), "{refused}");
}

#[tokio::test]
async fn an_ingest_is_given_datasets_of_the_same_options_and_none_when_it_shall_be_fresh() {
    let house = House::new().await;
    let first = ingested(&house, samples::spec(), "one").await;
    let newer = ingested(&house, samples::spec(), "two").await;
    ingested(&house, other_domain(), "three").await;
    let mut spec = samples::spec();
    spec.training.rank = 4;
    let job = house.submit(spec.clone()).await;
    let given = house.driver.earlier_datasets(&job).await.unwrap();
    let jobs: Vec<_> = given.same_options.iter().map(|stored| stored.job.clone()).collect();
    assert_eq!(jobs, [newer.id, first.id]);
    assert_eq!(given.family, [], "nothing asks for what is new");
    spec.ingest.fresh = true;
    let fresh = house.submit(spec).await;
    assert_eq!(house.driver.earlier_datasets(&fresh).await.unwrap(), EarlierDatasets::default());
}

#[tokio::test]
async fn what_is_known_comes_from_the_family_and_not_from_rejected_versions() {
    let house = House::new().await;
    let first = ingested(&house, samples::spec(), "one").await;
    complete(&house.driver, &first.id, StageResult::Train(training("tiny"))).await.unwrap();
    let second = ingested(&house, samples::spec(), "two").await;
    complete(&house.driver, &second.id, StageResult::Train(training("tiny"))).await.unwrap();
    let mut asks = samples::spec();
    asks.ingest.clean.skip_known = true;
    let job = house.submit(asks.clone()).await;
    let known = house.driver.earlier_datasets(&job).await.unwrap().family;
    let contents: BTreeSet<_> = known.iter().map(ArtifactRef::digest).collect();
    let expected = [&first, &second].map(|job| made_by(job).unwrap().dataset.digest());
    assert_eq!(contents, expected.into());
    let other = house.submit(JobSpec { method: Method::Qlora, ..asks.clone() }).await;
    assert_eq!(house.driver.earlier_datasets(&other).await.unwrap().family, [], "another family");

    let review =
        Review { verdict: Verdict::Reject, actor: "anna".to_owned(), reason: "it knows nothing".to_owned() };
    let version = house.driver.dataset(second.id.as_str()).await.unwrap().adapters.remove(0);
    house.driver.review(&version, review).await.unwrap();
    let known = house.driver.earlier_datasets(&job).await.unwrap().family;
    assert_eq!(
        known.iter().map(ArtifactRef::digest).collect::<Vec<_>>(),
        [made_by(&first).unwrap().dataset.digest()]
    );
}

#[tokio::test]
async fn a_claim_of_an_ingest_carries_what_was_made_before() {
    let house = House::new().await;
    let first = ingested(&house, samples::spec(), "one").await;
    let job = house.submit(samples::spec()).await;
    let key = claim(&house.driver, &job.id, Stage::Ingest).await;
    let leased = house.job(&job.id).await;
    let mut assignment = leased.assignment(key, None).unwrap();
    assignment.earlier = house.driver.earlier_datasets(&leased).await.unwrap();
    let wire = v1::Assignment::from(assignment);
    assert_eq!(wire.earlier.unwrap().same_options[0].job_id, first.id.as_str());
}
