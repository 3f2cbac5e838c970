//! Which indexes a job enters and leaves.

use clara_lifecycle::{
    job::Event,
    samples::{golden_input, spec},
    time::Timestamp,
};

use super::*;

fn job() -> Job {
    let mut spec = spec();
    spec.labels.insert(TENANT_LABEL.to_owned(), "nord".to_owned());
    spec.priority = 8;
    Job::submit("job-1".parse().unwrap(), spec, golden_input(), Timestamp(1)).0
}

fn indexes(changes: &[IndexChange], present: bool) -> Vec<&str> {
    changes.iter().filter(|change| change.present == present).map(|change| change.index.as_str()).collect()
}

#[test]
fn a_new_job_appears_in_its_state_its_tenant_its_dataset_and_its_specification() {
    let changes = changes(None, &job());
    let digest = unfinished(spec_digest(&job()).as_str());
    let dataset = same_ingest(&job()).unwrap();
    let expected = ["jobs", &dataset, "jobs.waiting", "waiting.nord", "tenants.waiting", &digest];
    assert_eq!(indexes(&changes, true), expected);
    assert!(changes.iter().any(|change| change.index == "waiting.nord" && change.member == "1/job-1"));
}

#[test]
fn an_admitted_job_moves_to_the_active_ones() {
    let (before, now) = (job(), Timestamp(2));
    let after = before.apply(Event::Admitted, now).unwrap().0;
    let changes = changes(Some(&before), &after);
    assert_eq!(indexes(&changes, false), ["jobs.waiting", "waiting.nord"]);
    assert_eq!(indexes(&changes, true), ["jobs.active", "active.nord"]);
}

#[test]
fn a_job_that_is_over_is_no_longer_unfinished() {
    let before = job();
    let after = before.apply(Event::CancelRequested, Timestamp(2)).unwrap().0;
    let changes = changes(Some(&before), &after);
    let digest = unfinished(spec_digest(&before).as_str());
    assert_eq!(indexes(&changes, false), ["jobs.waiting", "waiting.nord", &digest]);
    assert_eq!(indexes(&changes, true), ["jobs.cancelled"]);
}

#[test]
fn jobs_that_ask_for_the_same_dataset_share_an_index_whatever_they_train() {
    let mut other = job();
    let mut spec = clara_lifecycle::spec::JobSpec::clone(&other.spec);
    spec.training.rank += 1;
    spec.ingest.fresh = true;
    other.spec = std::sync::Arc::new(spec.clone());
    assert_eq!(same_ingest(&job()), same_ingest(&other));
    spec.ingest.min_chars += 1;
    other.spec = std::sync::Arc::new(spec);
    assert_ne!(same_ingest(&job()), same_ingest(&other));
}

fn spec_digest(job: &Job) -> clara_lifecycle::digest::Digest {
    job.spec.digest().unwrap()
}
