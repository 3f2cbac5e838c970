//! Golden datasets: drafts change, frozen versions never.

use clara_lifecycle::golden::GoldenSample;

use super::*;
use crate::testing::{House, golden};

fn another_sample() -> GoldenDataset {
    let mut dataset = golden("1.0.0");
    dataset.samples.clear();
    dataset.add(GoldenSample::new("Was regelt § 34 BauGB?".to_owned(), "Den Innenbereich.".to_owned()));
    dataset
}

fn law_golden(reference: &str) -> GoldenReference {
    format!("law-golden{reference}").parse().unwrap()
}

#[tokio::test]
async fn a_draft_grows_until_it_is_frozen() {
    let house = House::empty();
    let id = golden("1.0.0").dataset_id;
    house.driver.put_golden(golden("1.0.0"), false).await.unwrap();
    let grown = house.driver.put_golden(another_sample(), true).await.unwrap();
    assert_eq!(grown.samples.len(), 2);
    let frozen = house.driver.freeze_golden(&id, "anna", &house.artifacts).await.unwrap();
    assert_eq!(frozen.digest, grown.digest());
    let stored = house.artifacts.read(&frozen.artifact, "golden.json").await.unwrap();
    let stored: GoldenDataset = serde_json::from_slice(&stored).unwrap();
    assert_eq!(stored.digest(), grown.digest());
    let refused = house.driver.put_golden(another_sample(), true).await.unwrap_err().to_string();
    assert!(refused.contains("law-golden (as a draft)"), "{refused}");
}

#[tokio::test]
async fn a_frozen_version_never_changes() {
    let house = House::new().await;
    let refused = house.driver.put_golden(another_sample(), false).await.unwrap_err().to_string();
    assert!(refused.contains("law-golden@1.0.0 is frozen and never changes"), "{refused}");
    let Golden::Frozen(frozen) = house.driver.golden(&law_golden("@1.0.0")).await.unwrap() else {
        panic!("it is not frozen");
    };
    assert_eq!(frozen.digest, golden("1.0.0").digest());
}

#[tokio::test]
async fn a_new_version_leaves_the_old_one_as_it_was() {
    let house = House::new().await;
    let mut next = another_sample();
    next.version = "1.1.0".parse().unwrap();
    house.driver.put_golden(next.clone(), false).await.unwrap();
    assert!(matches!(house.driver.golden(&law_golden("")).await.unwrap(), Golden::Draft(_)));
    assert_eq!(house.driver.pinned_golden(&law_golden("")).await.unwrap().reference, "law-golden@1.0.0");
    house.driver.freeze_golden(&next.dataset_id, "anna", &house.artifacts).await.unwrap();
    assert_eq!(house.driver.pinned_golden(&law_golden("")).await.unwrap().reference, "law-golden@1.1.0");
    let old = house.driver.pinned_golden(&law_golden("@1.0.0")).await.unwrap();
    assert_eq!(old.digest, golden("1.0.0").digest());
    assert_eq!(house.driver.all_golden().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_dataset_with_errors_cannot_be_frozen() {
    let house = House::empty();
    let mut dataset = golden("1.0.0");
    dataset.samples.clear();
    let id = dataset.dataset_id.clone();
    house.driver.put_golden(dataset, false).await.unwrap();
    let refused = house.driver.freeze_golden(&id, "anna", &house.artifacts).await.unwrap_err().to_string();
    assert!(refused.starts_with("law-golden cannot be frozen:"), "{refused}");
}

#[tokio::test]
async fn freezing_is_in_the_audit_log() {
    let house = House::new().await;
    let (entries, _) = house.driver.audit_log(Some("law-golden@1.0.0")).await.unwrap();
    let entries: Vec<_> = entries.iter().map(|entry| (entry.action.as_str(), entry.actor.as_str())).collect();
    assert_eq!(entries, [("golden.frozen", "anna")]);
}
