//! Evaluations are found by their versions, also where the job is not here.

use clara_lifecycle::{
    adapter::AdapterStatus,
    gate::{Decision, PairedDelta},
    stage::Stage,
};

use super::*;
use crate::testing::{House, complete, judged_in_place, remove_old, result};

const ADAPTER: &str = "law-lora-v1.0.0";

#[tokio::test]
async fn a_version_keeps_its_evaluation_and_answers_when_its_job_is_forgotten() {
    let house = House::new().await;
    let (job, answers, evaluation) = judged_in_place(&house, Decision::Reject).await;
    assert_eq!(remove_old(&house).await, [job.to_string()]);
    assert!(house.driver.records.job(&job).await.is_err());
    let control = house.control();
    assert_eq!(control.evaluation_of(ADAPTER).await.unwrap(), evaluation);
    let evidence = control.evidence(ADAPTER).await.unwrap();
    assert_eq!(control.answers(&evidence).await.unwrap(), Some(answers));
    // A second collection keeps it, too.
    assert_eq!(remove_old(&house).await, Vec::<String>::new());
    assert_eq!(control.evaluation_of(ADAPTER).await.unwrap(), evaluation);
}

#[tokio::test]
async fn the_job_of_a_version_with_files_stays_for_reviews_and_rollouts() {
    for decision in [Decision::Approve, Decision::Review, Decision::Inconclusive] {
        let house = House::new().await;
        let (job, ..) = judged_in_place(&house, decision).await;
        if decision == Decision::Approve {
            complete(&house.driver, &job, result(Stage::Rollout, decision)).await.unwrap();
        }
        assert_eq!(remove_old(&house).await, Vec::<String>::new(), "{decision}");
        assert!(house.driver.records.job(&job).await.is_ok(), "{decision}");
        assert!(house.reviews().sheet(ADAPTER, "anna").await.is_ok(), "{decision}");
    }
}

#[tokio::test]
async fn a_version_that_was_imported_without_its_files_hinders_no_collection() {
    let (there, here) = (House::new().await, House::new().await);
    judged_in_place(&there, Decision::Reject).await;
    let mut file = there.driver.export_registry().await.unwrap();
    let version = &mut file.families[0].versions[0];
    version.status = AdapterStatus::Approved;
    let report = &mut version.evaluation.as_mut().unwrap().report;
    report.champion_delta = Some(PairedDelta { mean: 1.0, lower_bound: 0.5, upper_bound: 1.5 });
    here.driver.import_registry(file, "anna").await.unwrap();
    let (job, ..) = judged_in_place(&here, Decision::Reject).await;
    assert_eq!(remove_old(&here).await, [job.to_string()]);
    let refused = here.control().evaluation_of(ADAPTER).await.unwrap_err().to_string();
    assert!(refused.contains("it was imported without its files"), "{refused}");
}

#[tokio::test]
async fn a_file_that_holds_no_evaluation_is_named() {
    let house = House::new().await;
    let artifact = house.put("odd", "evaluation.json", &serde_json::json!({ "summary": 1 })).await;
    let refused = evaluation(&house.artifacts, &artifact).await.unwrap_err().to_string();
    assert!(refused.contains("record odd/evaluation.json cannot be used"), "{refused}");
}
