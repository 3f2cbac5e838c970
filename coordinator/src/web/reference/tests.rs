//! The description names what the router answers, and the fields that documents have.

use std::collections::BTreeSet;

use clara_lifecycle::{gate::Decision, samples, stage::Stage};
use serde_json::json;

use super::*;
use crate::{
    testing::{House, complete_until},
    web::{api::CALLS, tests::Browser},
};

fn described() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

#[test]
fn every_call_of_the_router_is_described_and_no_other() {
    let described = described();
    let mut written = BTreeSet::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            written.insert((method.clone(), path.clone(), name.to_owned()));
        }
    }
    let routed = CALLS
        .iter()
        .map(|(method, path, name)| ((*method).to_owned(), (*path).to_owned(), (*name).to_owned()));
    assert_eq!(written, routed.collect());
}

#[test]
fn everything_over_grpc_can_be_done_over_http() {
    let proto = include_str!("../../../../proto/clara/v1/control_service.proto");
    let names = proto.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next());
    let missing: Vec<_> = names.filter(|name| CALLS.iter().all(|(.., call)| call != name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

/// Fields of a schema of the description.
fn schema<'a>(described: &'a Value, name: &str) -> &'a serde_json::Map<String, Value> {
    described["components"]["schemas"][name]["properties"].as_object().unwrap()
}

#[tokio::test]
async fn documents_have_the_fields_that_are_described() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, Some(Stage::Rollout), Decision::Review).await;
    let browser = Browser::of(&house);
    let described = described();
    for (path, name, is_list) in [
        (format!("jobs/{job}"), "Job", false),
        ("jobs".to_owned(), "Job", true),
        (format!("jobs/{job}/events"), "Event", true),
        (format!("jobs/{job}/explanation"), "Explanation", false),
        ("queues".to_owned(), "Queues", false),
        ("adapters".to_owned(), "Adapter", true),
        ("adapters/law-lora-v1.0.0".to_owned(), "Adapter", false),
        ("audit?adapter=law-lora-v1.0.0".to_owned(), "Audit", false),
        ("registry".to_owned(), "RegistryFile", false),
        ("golden".to_owned(), "GoldenDataset", true),
        ("golden/law-golden@1.0.0".to_owned(), "GoldenDataset", false),
        ("datasets".to_owned(), "Dataset", true),
    ] {
        let seen = browser.get(&format!("/api/v1/{path}")).await.json();
        let document = if is_list { &seen[0] } else { &seen };
        let found: BTreeSet<_> = document.as_object().unwrap().keys().collect();
        assert_eq!(found, schema(&described, name).keys().collect(), "{path}");
    }
    let spec = browser.get(&format!("/api/v1/jobs/{job}")).await.json()["spec"].take();
    let found: BTreeSet<_> = spec.as_object().unwrap().keys().collect();
    assert_eq!(found, schema(&described, "Specification").keys().collect());
}

#[tokio::test]
async fn the_page_lists_calls_and_kinds_of_problems() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    let page = browser.get("/api").await;
    assert!(page.text.contains("/jobs/{job}/retry") && page.text.contains("id=\"invalid_specification\""));
    let unknown = browser.get("/api/v1/jobs/job-0").await;
    assert_eq!(
        unknown.json(),
        json!({
            "type": "/api#unknown", "title": "There is no such thing", "status": 404,
            "detail": "there is no job job-0; `clara job list` shows all",
        })
    );
}
