//! Families come back as they were stored, and a change writes the versions that it changed.

use clara_lifecycle::{adapter::AdapterStatus, gate::Decision, samples};

use super::*;
use crate::testing::{House, complete_until};

/// The parts that a write has.
fn written(write: &Write) -> Vec<&str> {
    match &write.body {
        Body::Put { parts, .. } => parts.iter().map(|(name, _)| name.as_str()).collect(),
        Body::Keep | Body::Remove => panic!("{write:?}"),
    }
}

async fn stored(house: &House) -> Stored<Family> {
    house.driver.records.family("law-lora").await.unwrap().unwrap()
}

#[tokio::test]
async fn a_family_is_read_as_it_was_stored_and_only_what_changed_is_written() {
    let house = House::new().await;
    for _ in 0..3 {
        let job = house.submit(samples::spec()).await.id;
        complete_until(&house.driver, &job, None, Decision::Approve).await;
    }
    let before = stored(&house).await;
    assert_eq!(before.value.versions.len(), 3);
    assert_eq!(before.value.champion(), Some("law-lora-v1.0.2"));
    assert_eq!(before.value.former_champions, ["law-lora-v1.0.1", "law-lora-v1.0.0"]);
    let copy = house.driver.copies.families.get("law-lora").unwrap();
    assert_eq!((copy.version, &copy.value.family), (before.version, &before.value));
    assert_eq!(house.driver.records.families().await.unwrap(), std::slice::from_ref(&before.value));

    assert_eq!(written(&write(None, &before).unwrap()), ["version.1.0.2", "version.1.0.1", "version.1.0.0"]);
    assert!(written(&write(Some(&before.value), &before).unwrap()).is_empty());
    let mut after = before.clone();
    after.value.versions[1].status = AdapterStatus::Deprecated;
    let write = write(Some(&before.value), &after).unwrap();
    assert_eq!(written(&write), ["version.1.0.1"]);
    let commit = clara_runtime::state::Commit { writes: vec![write], ..Default::default() };
    house.driver.records.state.commit(&commit).await.unwrap();
    assert_eq!(stored(&house).await.value, after.value);
}

#[tokio::test]
async fn a_version_without_its_part_is_told_with_its_name() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, None, Decision::Approve).await;
    let mut record = house.driver.records.state.load(&family_key("law-lora")).await.unwrap().unwrap();
    record.parts.clear();
    let error = family_of(&record).unwrap_err().to_string();
    assert!(
        error.contains("family/law-lora (its part `version.1.0.0`)") && error.contains("missing"),
        "{error}"
    );
}
