//! Verification of files and signatures before they are used.

use clara_lifecycle::{gate::Decision, results::StageResult, samples, stage::Stage};

use super::{super::signature::Signer, *};
use crate::testing::{House, complete, complete_until, result, training};

const ADAPTER: &str = "law-lora-v1.0.0";

/// An approved version with files that are there, signed when there is a key.
async fn approved(house: &House) -> ArtifactRef {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("adapter_config.json"), "{}").unwrap();
    std::fs::write(folder.path().join("adapter_model.safetensors"), "tensors").unwrap();
    let adapter = house.artifacts.put_folder("jobs/job-1/adapter", folder.path()).await.unwrap();
    let job = house.submit(samples::spec()).await.id;
    complete(&house.driver, &job, result(Stage::Ingest, Decision::Approve)).await.unwrap();
    let trained = clara_lifecycle::results::TrainingResult { adapter: adapter.clone(), ..training("tiny") };
    complete(&house.driver, &job, StageResult::Train(trained)).await.unwrap();
    for stage in [Stage::Generate, Stage::Judge, Stage::Gate, Stage::Rollout] {
        complete(&house.driver, &job, result(stage, Decision::Approve)).await.unwrap();
    }
    adapter
}

fn with_key(house: &mut House, require_signature: bool) {
    let signer =
        Signer::from_pem("a key", &Signer::generate(super::super::signature::KeyKind::P256).unwrap());
    let policy = RegistryPolicy { four_eyes: false, signer: Some(signer.unwrap()), require_signature };
    house.driver.registry = std::sync::Arc::new(policy);
}

#[tokio::test]
async fn a_version_is_signed_at_its_approval_and_verified_by_alias() {
    let mut house = House::new().await;
    with_key(&mut house, true);
    approved(&house).await;
    let verified = house.driver.verify_adapter("law-lora@champion", &house.artifacts).await.unwrap();
    assert_eq!((verified.adapter_id.as_str(), verified.files, verified.size_bytes), (ADAPTER, 2, 9));
    assert!(matches!(verified.signature, SignatureState::Valid { .. }), "{verified:?}");
}

#[tokio::test]
async fn a_changed_file_and_a_missing_one_are_named() {
    let house = House::new().await;
    let adapter = approved(&house).await;
    let unsigned = house.driver.verify_adapter(ADAPTER, &house.artifacts).await.unwrap();
    assert_eq!(unsigned.signature, SignatureState::Unsigned);
    let changed = house.artifacts.local_path(&adapter, "adapter_config.json").unwrap();
    std::fs::write(changed, "{ }").unwrap();
    std::fs::remove_file(house.artifacts.local_path(&adapter, "adapter_model.safetensors").unwrap()).unwrap();
    let refused = house.driver.verify_adapter(ADAPTER, &house.artifacts).await.unwrap_err();
    let DriverError::NotVerified { problems, .. } = refused else { panic!("{refused}") };
    assert_eq!(problems.len(), 2);
    assert!(problems[0].contains("adapter_config.json") && problems[1].contains("adapter_model.safetensors"));
}

#[tokio::test]
async fn a_missing_signature_and_that_of_another_key_are_refused_where_one_is_required() {
    let mut house = House::new().await;
    approved(&house).await;
    with_key(&mut house, true);
    let refused = house.driver.verify_adapter(ADAPTER, &house.artifacts).await.unwrap_err().to_string();
    assert!(refused.contains("it has no signature"), "{refused}");
    let mut other = House::new().await;
    with_key(&mut other, false);
    approved(&other).await;
    with_key(&mut other, false);
    let refused = other.driver.verify_adapter(ADAPTER, &other.artifacts).await.unwrap_err().to_string();
    assert!(refused.contains("was made with key"), "{refused}");
}

#[tokio::test]
async fn a_version_without_files_here_cannot_be_verified() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, None, Decision::Approve).await;
    let mut file = house.driver.export_registry().await.unwrap();
    file.families[0].versions[0].lineage = None;
    let there = House::empty();
    there.driver.import_registry(file, "anna").await.unwrap();
    let refused = there.driver.verify_adapter(ADAPTER, &there.artifacts).await.unwrap_err().to_string();
    assert!(refused.contains("imported without its files"), "{refused}");
}
