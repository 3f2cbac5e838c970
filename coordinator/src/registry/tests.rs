//! Reviews with their audit entries, export and import.

use clara_lifecycle::{
    adapter::AdapterStatus,
    audit::find_break,
    gate::Decision,
    id::JobId,
    job::{JobState, Outcome, StageState, Verdict},
    samples,
    stage::Stage,
};

use super::*;
use crate::testing::{House, complete, complete_until, result};

const ADAPTER: &str = "law-lora-v1.0.0";

fn verdict(verdict: Verdict, reason: &str) -> Review {
    Review { verdict, actor: "anna".to_owned(), reason: reason.to_owned() }
}

async fn in_review(house: &House) -> JobId {
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, None, Decision::Review).await;
    assert_eq!(house.job(&job).await.state, JobState::InReview);
    job
}

async fn log(house: &House) -> Vec<(String, String, String)> {
    let (entries, broken) = house.driver.audit_log(Some(ADAPTER)).await.unwrap();
    assert_eq!(broken, None);
    entries.into_iter().map(|entry| (entry.action, entry.actor, entry.reason)).collect()
}

fn entry(action: &str, actor: &str, reason: &str) -> (String, String, String) {
    (action.to_owned(), actor.to_owned(), reason.to_owned())
}

#[tokio::test]
async fn an_approval_lets_the_job_go_on_and_is_in_the_audit_log() {
    let house = House::new().await;
    let job = in_review(&house).await;
    let Reviewed { view, job: goes_on, .. } =
        house.driver.review(ADAPTER, verdict(Verdict::Approve, "sound")).await.unwrap();
    assert_eq!(goes_on.as_ref(), Some(&job));
    assert_eq!(
        (view.version.status, view.version.approved_by.as_deref()),
        (AdapterStatus::Approved, Some("anna"))
    );
    assert!(!view.champion, "the rollout comes first");
    assert!(matches!(house.job(&job).await.stages.get(Stage::Rollout).state, StageState::Queued { .. }));
    complete(&house.driver, &job, result(Stage::Rollout, Decision::Review)).await.unwrap();
    assert!(house.driver.adapter(ADAPTER).await.unwrap().champion);
    assert_eq!(
        log(&house).await,
        [
            entry("adapter.registered", "coordinator", &format!("trained by job {job}")),
            entry("adapter.in_review", "gate", "the mean is 88"),
            entry("adapter.approved", "anna", "sound"),
            entry("adapter.promoted", "coordinator", "first champion"),
        ]
    );
}

#[tokio::test]
async fn a_rejection_ends_the_job_with_the_reason() {
    let house = House::new().await;
    let job = in_review(&house).await;
    let Reviewed { view, .. } =
        house.driver.review(ADAPTER, verdict(Verdict::Reject, "cites a repealed law")).await.unwrap();
    assert_eq!(view.version.status, AdapterStatus::Rejected);
    assert!(view.version.review_notes.contains(&"anna: cites a repealed law".to_owned()));
    assert_eq!(house.job(&job).await.state, JobState::Finished { outcome: Outcome::Rejected });
    assert_eq!(log(&house).await.last(), Some(&entry("adapter.rejected", "anna", "cites a repealed law")));
}

#[tokio::test]
async fn an_approval_that_comes_after_a_rejection_promotes_nothing() {
    let house = House::new().await;
    in_review(&house).await;
    let seen = house.driver.adapter(ADAPTER).await.unwrap().version;
    house.driver.review(ADAPTER, verdict(Verdict::Reject, "cites a repealed law")).await.unwrap();
    let late = house.driver.review_as_seen(&seen, verdict(Verdict::Approve, "sound")).await;
    let late = late.unwrap_err().to_string();
    assert!(late.contains("was reviewed meanwhile"), "{late}");
    let view = house.driver.adapter(ADAPTER).await.unwrap();
    assert_eq!((view.version.status, view.champion), (AdapterStatus::Rejected, false));
}

#[tokio::test]
async fn a_review_without_a_reason_is_refused() {
    let house = House::new().await;
    in_review(&house).await;
    let refused = house.driver.review(ADAPTER, verdict(Verdict::Approve, " ")).await.unwrap_err().to_string();
    assert!(refused.contains("--reason"), "{refused}");
    assert_eq!(house.driver.adapter(ADAPTER).await.unwrap().version.status, AdapterStatus::InReview);
}

#[tokio::test]
async fn a_rejected_version_can_be_approved_later_and_becomes_champion_at_once() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, None, Decision::Reject).await;
    let Reviewed { view, job: goes_on, .. } =
        house.driver.review(ADAPTER, verdict(Verdict::Approve, "the judge was wrong")).await.unwrap();
    assert_eq!((view.version.status, view.champion, goes_on), (AdapterStatus::Approved, true, None));
    let refused =
        house.driver.review(ADAPTER, verdict(Verdict::Approve, "again")).await.unwrap_err().to_string();
    assert_eq!(refused, format!("{ADAPTER} is already approved"));
}

#[tokio::test]
async fn an_unknown_adapter_is_named() {
    let house = House::new().await;
    for adapter in ["law-lora-v9.9.9", "nonsense", "law-lora@challenger"] {
        let refused = house.driver.adapter(adapter).await.unwrap_err().to_string();
        assert_eq!(refused, format!("there is no adapter {adapter}; `clara registry list` shows all"));
    }
}

#[tokio::test]
async fn a_changed_entry_breaks_the_chain() {
    let house = House::new().await;
    in_review(&house).await;
    let (mut entries, broken) = house.driver.audit_log(Some(ADAPTER)).await.unwrap();
    assert_eq!(broken, None);
    let head = house.driver.records.audit_head("law-lora").await.unwrap().value;
    assert_eq!(find_break("law-lora", &entries, &head), None);
    entries[1].actor = "mallory".to_owned();
    assert_eq!(find_break("law-lora", &entries, &head).map(|found| found.number), Some(2));
}

#[tokio::test]
async fn the_audit_log_holds_the_chains_of_families_and_golden_datasets_in_order_of_time() {
    let house = House::new().await;
    in_review(&house).await;
    let (entries, broken) = house.driver.audit_log(None).await.unwrap();
    assert_eq!(broken, None);
    let told: Vec<(&str, u64, &str)> =
        entries.iter().map(|entry| (entry.chain.as_str(), entry.number, entry.action.as_str())).collect();
    assert_eq!(
        told,
        [
            ("golden/law-golden", 1, "golden.frozen"),
            ("law-lora", 1, "adapter.registered"),
            ("law-lora", 2, "adapter.in_review"),
        ]
    );
}

#[tokio::test]
async fn an_exported_registry_is_imported_elsewhere_unchanged_and_twice_harmlessly() {
    let here = House::new().await;
    let job = here.submit(samples::spec()).await.id;
    complete_until(&here.driver, &job, None, Decision::Approve).await;
    let file = here.driver.export_registry().await.unwrap();
    let there = House::empty();
    assert_eq!(there.driver.import_registry(file.clone(), "anna").await.unwrap(), (1, 0));
    assert_eq!(there.driver.import_registry(file.clone(), "anna").await.unwrap(), (0, 1));
    assert_eq!(there.driver.export_registry().await.unwrap().families, file.families);
    assert!(there.driver.adapter(ADAPTER).await.unwrap().champion);
    let (entries, broken) = there.driver.audit_log(None).await.unwrap();
    assert_eq!((entries.len(), broken), (1, None));
}

#[tokio::test]
async fn an_import_of_another_adapter_under_a_known_id_changes_nothing() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, None, Decision::Approve).await;
    let before = house.driver.export_registry().await.unwrap();
    let mut file = before.clone();
    let version = &mut file.families[0].versions[0];
    version.adapter_checksum = samples::digest("forged").to_string();
    let refused = house.driver.import_registry(file.clone(), "mallory").await.unwrap_err().to_string();
    assert!(refused.contains("does not follow from its files"), "{refused}");
    let version = &mut file.families[0].versions[0];
    let lineage = version.lineage.as_mut().unwrap();
    lineage.adapter.files[0].digest = samples::digest("forged");
    version.adapter_checksum = lineage.adapter.digest().to_string();
    let refused = house.driver.import_registry(file, "mallory").await.unwrap_err().to_string();
    assert!(refused.contains("versions are immutable"), "{refused}");
    assert_eq!(house.driver.export_registry().await.unwrap().families, before.families);
    assert_eq!(
        house.driver.audit_log(None).await.unwrap().0.iter().filter(|entry| entry.actor == "mallory").count(),
        0
    );
}
