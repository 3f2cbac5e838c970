//! Tests of labels and calibrations as the coordinator keeps them.

use std::{collections::BTreeMap, time::Duration};

use clara_lifecycle::{
    calibration::{CalibrationState, standing_of},
    gate::Decision,
    label::{HumanLabel, LabelSource, NewLabel},
    results::{EvaluationResult, StageResult},
    samples,
    score::{Criterion, Evaluation},
    stage::Stage,
};
use clara_proto::v1;

use crate::{
    change::Change,
    driver::DriverError,
    testing::{House, complete, complete_until},
};

const ADAPTER: &str = "law-lora-v1.0.0";

/// A judged version with forty answers, whose evaluation lies in the store.
async fn judged(house: &House) -> Evaluation {
    let scores: Vec<f64> = (0..40).map(|index| f64::from(10 + index % 9 * 10)).collect();
    let evaluation = samples::evaluation(ADAPTER, &scores);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("evaluation.json"), serde_json::to_vec(&evaluation).unwrap()).unwrap();
    let stored = house.artifacts.put_folder("evaluations/one", folder.path()).await.unwrap();
    let job = house.submit(samples::spec()).await;
    complete_until(&house.driver, &job.id, Some(Stage::Judge), Decision::Review).await;
    let result = EvaluationResult {
        evaluation: stored,
        samples: 40,
        unscored: 0,
        average_score: evaluation.summary.average_score,
        pass_rate: Some(0.5),
    };
    complete(&house.driver, &job.id, StageResult::Judge(result)).await.unwrap();
    evaluation
}

fn says(sample: usize, accuracy: f64) -> NewLabel {
    NewLabel {
        sample_id: format!("s{sample}"),
        scores: BTreeMap::from([(Criterion::Accuracy, accuracy)]),
        actor: "anna".to_owned(),
        reason: String::new(),
        at: "2026-01-01T00:00:00Z".to_owned(),
        source: LabelSource::Label,
    }
}

async fn label(house: &House, new: NewLabel) -> Result<HumanLabel, DriverError> {
    house.control().label(ADAPTER, new).await
}

/// Labels `count` answers as the judge scored them, every fourth one a point lower.
async fn label_many(house: &House, evaluation: &Evaluation, count: usize) {
    for (index, score) in evaluation.results.iter().take(count).enumerate() {
        let lower = if index % 4 == 0 { 1.0 } else { 0.0 };
        label(house, says(index, score.overall_score / 10.0 - lower)).await.unwrap();
    }
}

#[tokio::test]
async fn a_label_is_kept_beside_what_the_judge_said_and_the_last_word_counts() {
    let house = House::new().await;
    let evaluation = judged(&house).await;
    label(&house, says(3, 9.0)).await.unwrap();
    let last = label(&house, says(3, 2.0)).await.unwrap();
    assert_eq!(house.driver.labels().await.unwrap(), std::slice::from_ref(&last));
    let said = &last.judged[&evaluation.judge.judge_id];
    assert!((said[&Criterion::Accuracy] - 4.0).abs() < 1e-9, "{said:?}");
    assert_eq!(last.golden_dataset, "golden@1.0.0");
    let other = NewLabel { actor: "ben".to_owned(), ..says(3, 5.0) };
    label(&house, other).await.unwrap();
    assert_eq!(house.driver.labels().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_label_that_says_nothing_is_refused() {
    let house = House::new().await;
    judged(&house).await;
    let table = [
        (NewLabel { sample_id: "nope".to_owned(), ..says(1, 5.0) }, "no scored answer to sample nope"),
        (NewLabel { scores: BTreeMap::new(), ..says(1, 5.0) }, "holds no score"),
        (says(1, 11.0), "the label says 11 for accuracy; expected 0 to 10"),
        (NewLabel { actor: " ".to_owned(), ..says(1, 5.0) }, "needs who says it"),
    ];
    for (new, expected) in table {
        let refused = label(&house, new).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
    assert_eq!(house.driver.labels().await.unwrap(), []);
}

#[tokio::test]
async fn enough_labels_calibrate_a_judge_until_it_is_too_old() {
    let house = House::new().await;
    let evaluation = judged(&house).await;
    label_many(&house, &evaluation, 29).await;
    let (views, unknown) = house.control().calibrate_all("anna").await.unwrap();
    assert!(unknown.is_empty());
    assert_eq!(views[0].standing.state, CalibrationState::Uncalibrated, "{views:?}");
    label_many(&house, &evaluation, 40).await;
    house.control().calibrate_all("anna").await.unwrap();
    let known = house.driver.known_judges().await.unwrap();
    assert_eq!(standing_of(evaluation.judges(), &known).state, CalibrationState::Calibrated, "{known:?}");

    house.clock.advance(Duration::from_hours(181 * 24 + 1));
    let known = house.driver.known_judges().await.unwrap();
    let standing = standing_of(evaluation.judges(), &known);
    assert_eq!(standing.state, CalibrationState::Stale);
    assert!(standing.reason.contains("calibrated 181 days ago, at most 180 are allowed"), "{standing:?}");
}

#[tokio::test]
async fn labels_of_a_version_whose_job_was_removed_do_not_hinder_a_calibration() {
    let house = House::new().await;
    let evaluation = judged(&house).await;
    label_many(&house, &evaluation, 3).await;
    let stored = house.driver.records.job(&house.jobs().await[0].id).await.unwrap();
    let mut change = Change::begin(&house.driver).await.unwrap();
    change.remove_job(&stored).await.unwrap();
    change.commit().await.unwrap();
    let (views, unknown) = house.control().calibrate_all("anna").await.unwrap();
    assert!(views.is_empty() && unknown.contains(&evaluation.judge.judge_id), "{views:?}, {unknown:?}");
}

#[tokio::test]
async fn what_users_ask_over_grpc_is_answered_and_recorded() {
    let house = House::new().await;
    let evaluation = judged(&house).await;
    let control = house.control();
    let request = v1::PutLabelRequest {
        adapter_id: ADAPTER.to_owned(),
        sample_id: "s1".to_owned(),
        scores: [("accuracy".to_owned(), 7.5)].into(),
        actor: "anna".to_owned(),
        reason: "nearly".to_owned(),
    };
    let wrong = v1::PutLabelRequest { scores: [("wit".to_owned(), 7.5)].into(), ..request.clone() };
    let refused = control.put_label(wrong).await.unwrap_err().to_string();
    assert!(refused.contains("`wit` is not a criterion"), "{refused}");
    let stored: HumanLabel = serde_json::from_str(&control.put_label(request).await.unwrap().json).unwrap();
    assert_eq!((stored.reason.as_str(), stored.source), ("nearly", LabelSource::Label));
    let all = control.list_labels(v1::ListLabelsRequest { adapter_id: None }).await.unwrap();
    assert_eq!(all.json.len(), 1);
    let other = v1::ListLabelsRequest { adapter_id: Some("other".to_owned()) };
    assert_eq!(control.list_labels(other).await.unwrap().json.len(), 0);
    let made = control.calibrate(v1::CalibrateRequest { actor: "anna".to_owned() }).await.unwrap();
    let listed = control.list_calibrations(v1::ListCalibrationsRequest {}).await.unwrap();
    assert_eq!(made.json.len(), 1);
    assert!(listed.json[0].contains("at least 30 are needed"), "{}", listed.json[0]);
    let (entries, broken) = house.driver.audit_log(Some(evaluation.judge.judge_id.as_str())).await.unwrap();
    assert_eq!((entries.len(), entries[0].action.as_str(), broken), (1, "judge.not_calibrated", None));
}
