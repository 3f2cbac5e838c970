//! Aliases by compare-and-swap, queries, deprecation and four eyes.

use std::sync::Arc;

use clara_lifecycle::{gate::Decision, job::Verdict, samples};

use super::*;
use crate::{
    registry::{AdapterFilter, RegistryPolicy, Review},
    testing::{House, complete_until},
};

async fn house_with(decisions: &[Decision]) -> House {
    let house = House::new().await;
    for decision in decisions {
        let job = house.submit(samples::spec()).await.id;
        complete_until(&house.driver, &job, None, *decision).await;
    }
    house
}

fn wish(alias: &str, to: Option<&str>, expected: Expected) -> AliasChange {
    AliasChange {
        family_id: "law-lora".to_owned(),
        alias: alias.parse().unwrap(),
        to: to.map(str::to_owned),
        expected,
        actor: "anna".to_owned(),
        reason: "a trial".to_owned(),
    }
}

#[tokio::test]
async fn an_alias_moves_only_from_where_it_was_seen() {
    let house = house_with(&[Decision::Approve, Decision::Approve]).await;
    let driver = &house.driver;
    assert_eq!(driver.adapter("law-lora@champion").await.unwrap().version.adapter_id, "law-lora-v1.0.1");
    let stale = wish("champion", Some("1.0.0"), Expected::Version("1.0.0".to_owned()));
    let refused = driver.move_alias(&stale).await.unwrap_err().to_string();
    assert!(refused.contains("points at law-lora-v1.0.1, not at law-lora-v1.0.0"), "{refused}");
    let seen = wish("champion", Some("1.0.0"), Expected::Version("law-lora-v1.0.1".to_owned()));
    let (view, before) = driver.move_alias(&seen).await.unwrap();
    assert_eq!(
        (view.unwrap().aliases, before.as_deref()),
        (vec!["champion".to_owned()], Some("law-lora-v1.0.1"))
    );
    driver.move_alias(&wish("canary", Some("law-lora@^1.0"), Expected::Nothing)).await.unwrap();
    assert_eq!(driver.adapter("law-lora@canary").await.unwrap().version.adapter_id, "law-lora-v1.0.1");
    driver.move_alias(&wish("canary", None, Expected::Anything)).await.unwrap();
    assert!(driver.adapter("law-lora@canary").await.is_err());
    let (log, broken) = driver.audit_log(None).await.unwrap();
    let actions: Vec<&str> = log.iter().rev().take(3).map(|entry| entry.action.as_str()).collect();
    assert_eq!((actions, broken), (vec!["alias.removed", "alias.moved", "adapter.promoted"], None));
}

#[tokio::test]
async fn the_champion_must_be_approved() {
    let house = house_with(&[Decision::Reject]).await;
    let refused = house
        .driver
        .move_alias(&wish("champion", Some("1.0.0"), Expected::Anything))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(refused, "law-lora-v1.0.0 is rejected and cannot become champion; approve it first");
}

#[tokio::test]
async fn ranges_list_all_and_find_the_newest_that_may_be_used() {
    let house = house_with(&[Decision::Approve, Decision::Approve, Decision::Reject]).await;
    let range = Some("^1.0".parse().unwrap());
    let all = house.driver.adapters(&AdapterFilter { range, ..AdapterFilter::default() }).await.unwrap();
    assert_eq!(all.len(), 3);
    let newest = house.driver.adapter("law-lora@^1").await.unwrap();
    assert_eq!(newest.version.adapter_id, "law-lora-v1.0.1");
    assert_eq!(house.driver.adapter("law-lora@=1.0.0").await.unwrap().version.adapter_id, "law-lora-v1.0.0");
    assert!(house.driver.adapter("law-lora@^2").await.is_err());
}

#[tokio::test]
async fn a_champion_is_deprecated_only_with_a_successor_that_takes_its_place() {
    let house = house_with(&[Decision::Approve, Decision::Approve]).await;
    let wish = |successor: Option<&str>, force| Deprecate {
        actor: "anna".to_owned(),
        reason: "the law changed".to_owned(),
        successor: successor.map(str::to_owned),
        force,
    };
    let driver = &house.driver;
    for (successor, force) in [(None, true), (Some("1.0.0"), false)] {
        let refused =
            driver.deprecate("law-lora@champion", &wish(successor, force)).await.unwrap_err().to_string();
        assert!(refused.contains("is champion of law-lora"), "{refused}");
    }
    let view = driver.deprecate("law-lora@champion", &wish(Some("1.0.0"), true)).await.unwrap();
    assert_eq!((view.version.status, view.champion), (AdapterStatus::Deprecated, false));
    let champion = driver.adapter("law-lora@champion").await.unwrap().version;
    assert_eq!(champion.adapter_id, "law-lora-v1.0.0");
    assert_eq!(champion.rollouts.last().unwrap().replaced.as_deref(), Some("law-lora-v1.0.1"));
    assert!(
        driver.deprecate("law-lora-v1.0.1", &wish(None, false)).await.is_ok(),
        "saying it again is harmless"
    );
}

#[tokio::test]
async fn with_four_eyes_two_people_approve_and_one_of_them_is_independent() {
    let mut house = House::new().await;
    let policy = RegistryPolicy { four_eyes: true, ..RegistryPolicy::default() };
    house.driver.registry = Arc::new(policy);
    let mut spec = samples::spec();
    spec.labels.insert("submitted_by".to_owned(), "anna".to_owned());
    let job = house.submit(spec).await.id;
    complete_until(&house.driver, &job, None, Decision::Review).await;
    let review = |actor: &str| Review {
        verdict: Verdict::Approve,
        actor: actor.to_owned(),
        reason: "read ten answers".to_owned(),
    };
    let driver = &house.driver;
    let first = driver.review("law-lora-v1.0.0", review("anna")).await.unwrap();
    assert_eq!((first.view.version.status, first.job), (AdapterStatus::InReview, None));
    assert!(first.waits.unwrap().contains("anna submitted the job and cannot approve"));
    let again = driver.review("law-lora-v1.0.0", review("anna")).await.unwrap_err().to_string();
    assert!(again.contains("another person"), "{again}");
    let second = driver.review("law-lora-v1.0.0", review("ben")).await.unwrap();
    assert_eq!(
        (second.view.version.status, second.job, second.waits),
        (AdapterStatus::Approved, Some(job), None)
    );
    assert_eq!(second.view.version.approvers(), ["anna", "ben"]);
}
