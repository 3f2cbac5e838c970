//! Records, answers and weights of two versions beside each other.

use clara_lifecycle::{gate::Decision, samples, stage::Stage};
use serde_json::json;

use super::*;
use crate::testing::{House, complete_until, judged_version};

#[test]
fn only_what_differs_is_listed_by_its_path() {
    let old = json!({ "rank": 8, "lineage": { "job": "a", "golden": "g@1.0.0" } });
    let new = json!({ "rank": 16, "lineage": { "job": "b", "golden": "g@1.0.0" } });
    let mut changes = Vec::new();
    push_changes("", &old, &new, &mut changes);
    let fields: Vec<_> = changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["lineage.job", "rank"]);
}

#[test]
fn a_metric_that_one_version_lacks_has_no_delta() {
    let change = change_of("pass_rate", None, Some(&3.0));
    assert_eq!((change.delta, change.delta_percent), (None, None));
    assert_eq!(change_of("x", Some(&50.0), Some(&75.0)).delta_percent, Some(50.0));
}

#[tokio::test]
async fn answers_and_weights_are_compared_with_the_greatest_loss_first() {
    let house = House::new().await;
    judged_version(&house, "init", &samples::evaluation("law-lora-v1.0.0", &[80.0, 90.0, 70.0, 60.0])).await;
    let mut better = samples::evaluation("law-lora-v1.0.1", &[85.0, 75.0, 70.0, 90.0]);
    better.results[3].adapter_output = "another answer".to_owned();
    judged_version(&house, "final", &better).await;
    let difference = house.control().difference("law-lora-v1.0.0", "law-lora-v1.0.1").await.unwrap();
    assert_eq!(difference.missing, Vec::<String>::new());
    let samples = difference.samples.unwrap();
    let deltas: Vec<_> = samples.iter().map(|s| (s.sample_id.as_str(), s.delta, s.same_answer)).collect();
    assert_eq!(deltas, [("s1", -15.0, true), ("s2", 0.0, true), ("s0", 5.0, true), ("s3", 30.0, false)]);
    let delta = difference.comparison.unwrap().delta.unwrap();
    assert_eq!((delta.pairs, delta.mean), (4, 5.0));
    assert!(delta.lower < 5.0 && 5.0 < delta.upper, "{delta:?}");
    let layers = difference.layers.unwrap();
    assert!(layers.len() > 1 && layers.iter().all(|layer| layer.difference.unwrap() > 0.0), "{layers:?}");
    assert!(difference.fields.iter().any(|change| change.field == "adapter_checksum"));
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_the_rest_is_compared() {
    let house = House::new().await;
    judged_version(&house, "init", &samples::evaluation("law-lora-v1.0.0", &[80.0, 90.0])).await;
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, Some(Stage::Judge), Decision::Review).await;
    let difference = house.control().difference("law-lora-v1.0.0", "law-lora-v1.0.1").await.unwrap();
    assert!(difference.samples.is_none() && difference.layers.is_none());
    let [answers, weights] = difference.missing.as_slice() else { panic!("{:?}", difference.missing) };
    assert_eq!(answers, "the answers are not compared: law-lora-v1.0.1 has no evaluation here");
    assert!(weights.starts_with("the weights are not compared: "), "{weights}");
    let score = difference.metrics.iter().find(|change| change.metric == "llm_judge_score").unwrap();
    assert!(score.old.is_some() && score.delta.is_none());
}
