//! What REST clients are answered.

mod registry;

use axum::{
    body::Body as HttpBody,
    http::{StatusCode, header::CONTENT_TYPE},
};
use clara_lifecycle::{gate::Decision, id::JobId, job::Event, samples, stage::Stage};
use serde_json::json;

use crate::{
    testing::{House, claim, complete_until},
    web::tests::Browser,
};

fn spec() -> serde_json::Value {
    json!({ "domain": "law", "golden_dataset": "law-golden", "base_model": "tiny", "ingest": { "sources": ["a.jsonl"] } })
}

#[tokio::test]
async fn a_job_is_submitted_with_defaults_shown_and_cancelled() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    let rehearsed = browser.write("POST", "/api/v1/jobs?dry_run=true", &spec()).await;
    assert_eq!(
        (rehearsed.status, rehearsed.json()["priority"].clone()),
        (StatusCode::OK, json!(5)),
        "{}",
        rehearsed.text
    );
    assert_eq!(browser.get("/api/v1/jobs").await.json(), json!([]));
    let created = browser.write("POST", "/api/v1/jobs", &spec()).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let place = created.headers.get("location").unwrap().to_str().unwrap();
    assert_eq!(browser.get(place).await.json(), created.json());
    let again = browser.write("POST", "/api/v1/jobs?resume_unfinished=true", &spec()).await;
    assert_eq!((again.status, again.json()["id"].clone()), (StatusCode::OK, created.json()["id"].clone()));
    let cancelled = browser.write("POST", &format!("{place}/cancel"), &json!({})).await;
    assert_eq!(cancelled.json()["state"], json!({ "kind": "cancelled" }));
    let twice = browser.write("POST", &format!("{place}/cancel"), &json!({})).await;
    assert_eq!(twice.status, StatusCode::CONFLICT);
    let retried = browser.write("POST", &format!("{place}/retry"), &json!({ "from": "ingest" })).await;
    assert_eq!(retried.json()["state"]["stage"], json!("ingest"), "{}", retried.text);
}

#[tokio::test]
async fn a_job_whose_judge_spent_its_budget_goes_on_with_a_greater_one() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    let mut spec = spec();
    spec["judge"] =
        json!({ "url": "http://judge.example.org/v1", "budget": { "most": 2.0, "prompt_price": 1.0 } });
    let created = browser.write("POST", "/api/v1/jobs", &spec).await;
    let job: JobId = created.json()["id"].as_str().unwrap().parse().unwrap();
    complete_until(&house.driver, &job, Some(Stage::Judge), Decision::Review).await;
    let key = claim(&house.driver, &job, Stage::Judge).await;
    let spent = Event::Failed { key, message: "the budget is spent".to_owned(), retryable: false };
    house.driver.apply(&job, spent).await.unwrap();
    let path = format!("/api/v1/jobs/{job}/retry");
    let less = browser.write("POST", &path, &json!({ "judge_budget": 1.0 })).await;
    assert_eq!(less.status, StatusCode::CONFLICT, "{}", less.text);
    assert!(less.text.contains("it is 2 now; expected more"), "{}", less.text);
    let more = browser.write("POST", &path, &json!({ "judge_budget": 10.0 })).await.json();
    assert_eq!(more["spec"]["judge"]["budget"]["most"], json!(10.0), "{more}");
    assert_eq!(more["state"]["stage"], json!("judge"));
}

#[tokio::test]
async fn a_wrong_specification_is_told_field_by_field() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    let mut wrong = spec();
    wrong["training"] = json!({ "rank": 0 });
    wrong["golden_dataset"] = json!("nowhere");
    let refused = browser.write("POST", "/api/v1/jobs", &wrong).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.headers.get(CONTENT_TYPE).unwrap(), "application/problem+json");
    let problems = refused.json()["problems"].clone();
    let fields: Vec<_> =
        problems.as_array().unwrap().iter().map(|problem| problem["field"].clone()).collect();
    assert!(
        fields.contains(&json!("golden_dataset")) && fields.contains(&json!("training.rank")),
        "{fields:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_a_problem_of_its_kind() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    let unknown_field =
        json!({ "domain": "law", "golden_dataset": "law-golden", "base_model": "tiny", "ranks": 3 });
    let refused = browser.write("POST", "/api/v1/jobs", &unknown_field).await;
    assert_eq!(refused.json()["type"], "/api#invalid_request");
    assert!(refused.text.contains("ranks"), "{}", refused.text);
    let no_json = axum::http::Request::post("/api/v1/jobs").body(HttpBody::from("{}")).unwrap();
    assert_eq!(browser.send(no_json).await.json()["type"], "/api#wrong_content_type");
    assert_eq!(browser.get("/api/v1/jobs?state=sleeping").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(browser.get("/api/v1/jobs?limit=1001").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(browser.get("/api/v1/nowhere").await.json()["type"], "/api#unknown");
    let wrong_method = browser.write("DELETE", "/api/v1/jobs", &json!({})).await;
    assert_eq!(wrong_method.json()["type"], "/api#wrong_method", "{}", wrong_method.text);
}

#[tokio::test]
async fn pages_of_jobs_lead_to_the_next() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    for _ in 0..3 {
        house.submit(samples::spec()).await;
    }
    let first = browser.get("/api/v1/jobs?limit=2&domain=law").await;
    let link = first.headers.get("link").unwrap().to_str().unwrap().to_owned();
    let next = link.trim_start_matches('<').split('>').next().unwrap();
    assert!(link.ends_with("rel=\"next\"") && next.contains("domain=law"), "{link}");
    let second = browser.get(next).await;
    assert_eq!((first.json().as_array().unwrap().len(), second.json().as_array().unwrap().len()), (2, 1));
    assert!(second.headers.get("link").is_none());
}

#[tokio::test]
async fn events_are_streamed_until_the_job_rests() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, Some(Stage::Rollout), Decision::Review).await;
    let listed = browser.get(&format!("/api/v1/jobs/{job}/events")).await.json();
    let numbers: Vec<_> =
        listed.as_array().unwrap().iter().map(|event| event["number"].as_u64().unwrap()).collect();
    let streamed = browser.get(&format!("/api/v1/jobs/{job}/events/stream?after=1")).await;
    assert_eq!(streamed.headers.get(CONTENT_TYPE).unwrap(), "text/event-stream");
    let ids: Vec<u64> =
        streamed.text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
    assert_eq!(ids, numbers[1..]);
    assert!(streamed.text.contains("event: rest\n"), "{}", streamed.text);
}

#[tokio::test]
async fn a_review_needs_actor_and_reason_and_is_in_the_audit_log() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, Some(Stage::Rollout), Decision::Review).await;
    let path = "/api/v1/adapters/law-lora-v1.0.0/review";
    let body = |reason: &str| json!({ "verdict": "approve", "actor": "anna", "reason": reason });
    assert_eq!(browser.write("POST", path, &body("")).await.status, StatusCode::BAD_REQUEST);
    let reviewed = browser.write("POST", path, &body("sound")).await;
    assert_eq!(
        (reviewed.json()["status"].clone(), reviewed.json()["job"].clone()),
        (json!("approved"), json!(job))
    );
    let audit = browser.get("/api/v1/audit?adapter=law-lora-v1.0.0").await.json();
    let last =
        audit["entries"].as_array().unwrap().iter().rfind(|entry| entry["actor"] == "anna").unwrap().clone();
    assert_eq!((last["action"].clone(), last["reason"].clone()), (json!("adapter.approved"), json!("sound")));
    assert_eq!(audit["broken_at"], json!(null));
}

#[tokio::test]
async fn a_golden_dataset_is_written_grown_and_frozen() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    let sample = |prompt: &str| json!({ "prompt": prompt, "expected_output": "Die Gemeinde." });
    let dataset = |samples| json!({ "dataset_id": "new-golden", "domain": "law", "version": "1.0.0", "samples": samples });
    let path = "/api/v1/golden/new-golden";
    let written = browser.write("PUT", path, &dataset(vec![sample("Wer plant?")])).await;
    assert_eq!(written.json()["frozen"], json!(false), "{}", written.text);
    let grown =
        browser.write("PUT", &format!("{path}?append=true"), &dataset(vec![sample("Wer baut?")])).await;
    assert_eq!(grown.json()["total_samples"], json!(2));
    let frozen = browser.write("POST", &format!("{path}/freeze"), &json!({ "actor": "anna" })).await;
    assert_eq!(frozen.json()["reference"], "new-golden@1.0.0", "{}", frozen.text);
    assert_eq!(browser.get(&format!("{path}@1.0.0")).await.json()["digest"], frozen.json()["digest"]);
    let elsewhere = browser.write("PUT", "/api/v1/golden/other", &dataset(Vec::new())).await;
    assert_eq!(elsewhere.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_exported_registry_is_imported_without_change() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, Some(Stage::Generate), Decision::Review).await;
    let exported = browser.get("/api/v1/registry").await.json();
    assert_eq!(
        browser.write("POST", "/api/v1/registry?actor=", &exported).await.status,
        StatusCode::BAD_REQUEST
    );
    let same = browser.write("POST", "/api/v1/registry?actor=anna", &exported).await;
    assert_eq!(same.json(), json!({ "imported": 0, "unchanged": 1 }));
    let other = House::empty();
    let taken = Browser::of(&other).write("POST", "/api/v1/registry?actor=anna", &exported).await;
    assert_eq!(taken.json(), json!({ "imported": 1, "unchanged": 0 }), "{}", taken.text);
}
