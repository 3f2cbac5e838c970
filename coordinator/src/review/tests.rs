//! Reviews over records and artifacts: queue, overrides, two reviewers.

use std::collections::BTreeMap;

use clara_lifecycle::{
    gate::Decision, job::Verdict, label::LabelSource, samples, score::Criterion, stage::Stage,
};

use super::*;
use crate::{
    records::is_conflict,
    testing::{House, judged_in_review},
};

const ADAPTER: &str = "law-lora-v1.0.0";

fn accuracy(score: f64, based_on: u64) -> ReviewChange {
    let scores = BTreeMap::from([(Criterion::Accuracy, score)]);
    ReviewChange::Override { sample_id: "bad".into(), scores, reason: "invents a right".into(), based_on }
}

fn verdict(actor: &str) -> Review {
    Review { verdict: Verdict::Approve, actor: actor.to_owned(), reason: "sound".to_owned() }
}

#[tokio::test]
async fn a_version_in_review_is_queued_with_its_hard_failures_first() {
    let house = House::new().await;
    judged_in_review(&house).await;
    let reviews = house.reviews();
    let queue = reviews.queue("anna").await.unwrap();
    let [queued] = queue.as_slice() else { panic!("one version: {queue:?}") };
    assert_eq!((queued.adapter_id.as_str(), queued.samples, queued.seen, queued.hard), (ADAPTER, 2, 0, 1));
    let sheet = reviews.sheet(ADAPTER, "anna").await.unwrap();
    assert_eq!((sheet.next.as_deref(), sheet.champion_mean), (Some("bad"), Some(80.0)));
    let item = reviews.item(ADAPTER, "bad", "anna").await.unwrap();
    assert_eq!((item.place, item.of, item.candidate.text.starts_with("answer 1 ")), (1, 2, true));
    assert_eq!(item.champion.unwrap().text, "older answer 1");
    let unknown = reviews.item(ADAPTER, "nonsense", "anna").await.unwrap_err().to_string();
    assert!(unknown.contains("no sample nonsense"), "{unknown}");
}

#[tokio::test]
async fn an_override_is_a_label_and_an_audit_entry_until_it_is_taken_back() {
    let house = House::new().await;
    judged_in_review(&house).await;
    let reviews = house.reviews();
    let saved = reviews.save(ADAPTER, "anna", &accuracy(2.0, 0)).await.unwrap();
    assert_eq!(saved.revision, 1);
    assert_eq!(saved.item.unwrap().corrected, Some(70.0));
    let labels = house.driver.labels().await.unwrap();
    let [label] = labels.as_slice() else { panic!("one label: {labels:?}") };
    assert_eq!((label.actor.as_str(), label.source), ("anna", LabelSource::Override));
    assert_eq!(label.judged["judge-1"].len(), 5);
    let (log, broken) = house.driver.audit_log(Some(ADAPTER)).await.unwrap();
    let last = log.last().unwrap();
    assert_eq!((last.action.as_str(), last.actor.as_str(), broken), ("review.overridden", "anna", None));
    assert_eq!(last.reason, "bad: accuracy 9.0 → 2.0: invents a right");
    let back = ReviewChange::Override {
        sample_id: "bad".into(),
        scores: BTreeMap::new(),
        reason: "read it again".into(),
        based_on: 1,
    };
    reviews.save(ADAPTER, "bert", &back).await.unwrap();
    assert_eq!(house.driver.labels().await.unwrap(), []);
}

#[tokio::test]
async fn of_two_reviewers_the_second_is_told_what_the_first_did() {
    let house = House::new().await;
    judged_in_review(&house).await;
    let (anna, bert) = (house.reviews(), house.reviews());
    let (first, second) = (accuracy(2.0, 0), accuracy(5.0, 0));
    let saves = tokio::join!(anna.save(ADAPTER, "anna", &first), bert.save(ADAPTER, "bert", &second));
    let refused = match saves {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
        both => panic!("exactly one may win: {both:?}"),
    };
    assert!(!is_conflict(&refused));
    let refused = refused.to_string();
    assert!(refused.contains("bad was changed meanwhile") && refused.contains("accuracy 9.0 →"), "{refused}");
    let stale = anna.decide(ADAPTER, verdict("anna"), Some(0)).await.unwrap_err().to_string();
    assert!(stale.contains("of bad"), "{stale}");
    anna.decide(ADAPTER, verdict("anna"), Some(1)).await.unwrap();
    let late = bert.decide(ADAPTER, verdict("bert"), Some(1)).await.unwrap_err().to_string();
    assert!(late.contains("anna made it approved (sound)"), "{late}");
}

#[tokio::test]
async fn a_draft_ends_with_the_verdict() {
    let house = House::new().await;
    judged_in_review(&house).await;
    let reviews = house.reviews();
    reviews.save(ADAPTER, "anna", &ReviewChange::Draft { text: "so far".into() }).await.unwrap();
    reviews.save(ADAPTER, "anna", &ReviewChange::Seen { sample_id: "bad".into() }).await.unwrap();
    let sheet = reviews.sheet(ADAPTER, "anna").await.unwrap();
    assert_eq!((sheet.draft.as_deref(), sheet.revision), (Some("so far"), 0));
    assert_ne!(sheet.next.as_deref(), Some("bad"));
    reviews.decide(ADAPTER, verdict("anna"), Some(0)).await.unwrap();
    assert_eq!(reviews.sheet(ADAPTER, "anna").await.unwrap().draft, None);
}

#[tokio::test]
async fn a_version_without_an_evaluation_waits_and_says_so() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    crate::testing::complete_until(&house.driver, &job, Some(Stage::Generate), Decision::Review).await;
    let reviews = house.reviews();
    let queue = reviews.queue("anna").await.unwrap();
    assert_eq!(queue.iter().map(|queued| queued.samples).collect::<Vec<_>>(), [0]);
    let refused = reviews.sheet(ADAPTER, "anna").await.unwrap_err().to_string();
    assert!(refused.contains("has no evaluation here"), "{refused}");
}
