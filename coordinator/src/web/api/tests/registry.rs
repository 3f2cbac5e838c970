//! What REST clients do with versions: aliases, deprecation, signatures, verification, rollout, labels.

use std::collections::BTreeSet;

use axum::http::{StatusCode, header::CONTENT_TYPE};
use clara_lifecycle::{gate::Decision, samples, score::Criterion};
use serde_json::{Value, json};

use crate::{
    testing::{House, complete_until, judged_version},
    web::tests::Browser,
};

/// Two approved versions, the newer of which is champion.
async fn approved() -> (House, Browser) {
    let house = House::new().await;
    judged_version(&house, "init", &samples::evaluation("law-lora-v1.0.0", &[80.0, 90.0])).await;
    judged_version(&house, "final", &samples::evaluation("law-lora-v1.0.1", &[85.0, 60.0])).await;
    let browser = Browser::of(&house);
    (house, browser)
}

#[tokio::test]
async fn an_alias_moves_from_where_it_was_seen_and_goes_away() {
    let (_house, browser) = approved().await;
    let path = "/api/v1/families/law-lora/aliases/challenger";
    let wish = json!({ "to": "1.0.1", "expected": "", "actor": "anna", "reason": "next" });
    let moved = browser.write("PUT", path, &wish).await;
    assert_eq!(moved.json()["adapter"]["aliases"], json!(["challenger"]), "{}", moved.text);
    let stale = browser.write("PUT", path, &wish).await;
    assert_eq!(
        (stale.status, stale.json()["type"].clone()),
        (StatusCode::CONFLICT, json!("/api#not_applicable"))
    );
    let removed = browser.write("PUT", path, &json!({ "actor": "anna", "reason": "done" })).await;
    assert_eq!(removed.json(), json!({ "adapter": null, "before": "law-lora-v1.0.1" }));
    let silent = browser.write("PUT", path, &json!({ "to": "1.0.1", "actor": "anna", "reason": "" })).await;
    assert_eq!(silent.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_version_is_deprecated_and_its_card_lineage_and_difference_are_told() {
    let (_house, browser) = approved().await;
    let wish = json!({ "actor": "anna", "reason": "out of date" });
    let gone = browser.write("POST", "/api/v1/adapters/law-lora-v1.0.0/deprecate", &wish).await;
    assert_eq!(gone.json()["status"], json!("deprecated"), "{}", gone.text);
    let card = browser.get("/api/v1/adapters/law-lora-v1.0.0/card?licence=mit").await;
    assert_eq!(card.headers.get(CONTENT_TYPE).unwrap(), "text/markdown; charset=utf-8");
    assert!(card.text.contains("license: \"mit\"") && card.text.contains("out of date"), "{}", card.text);
    let lineage = browser.get("/api/v1/adapters/law-lora-v1.0.0/lineage").await.json();
    assert_eq!(lineage["steps"][0]["step"], json!("data"));
    let path = "/api/v1/adapters/law-lora-v1.0.0/diff";
    let diff = browser.get(&format!("{path}?to=law-lora-v1.0.1")).await.json();
    assert_eq!(diff["samples"][0]["delta"], json!(-30.0), "{diff}");
    assert_eq!(browser.get(path).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn files_signatures_and_audit_log_are_verified() {
    let (_house, browser) = approved().await;
    let found = browser.write("POST", "/api/v1/registry/verification", &json!({})).await.json();
    assert_eq!((&found["versions"], &found["files"]), (&json!(2), &json!(6)), "{found}");
    // Datasets, reports and answers of the fabricated results never were in the store.
    let problems = found["problems"].as_array().unwrap();
    assert!(
        problems.len() == 6 && problems.iter().all(|p| p.as_str().unwrap().contains("samples/")),
        "{found}"
    );
    let wrong = browser.write("POST", "/api/v1/registry/verification", &json!({ "public_key": "x" })).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{}", wrong.text);
    let audit = browser.get("/api/v1/audit/verification").await.json();
    assert!(audit["entries"].as_u64().unwrap() > 2 && audit["breaks"] == json!([]), "{audit}");
    let keyless =
        browser.write("POST", "/api/v1/adapters/law-lora-v1.0.1/sign", &json!({ "actor": "anna" })).await;
    assert_eq!(keyless.status, StatusCode::BAD_REQUEST);
    assert!(keyless.text.contains("registry.signing_key"), "{}", keyless.text);
    let foreign = json!({ "actor": "anna", "bundle": { "dsseEnvelope": {} } });
    let refused = browser.write("POST", "/api/v1/adapters/law-lora-v1.0.1/sign", &foreign).await;
    assert_eq!(refused.json()["type"], json!("/api#not_verified"), "{}", refused.text);
}

#[tokio::test]
async fn garbage_is_only_told_unless_it_shall_be_removed() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, None, Decision::Reject).await;
    house.put("jobs/lost/1-1", "note.json", &json!({})).await;
    let browser = Browser::of(&house);
    let path = "/api/v1/registry/garbage";
    let told = browser.write("POST", path, &json!({ "jobs_older_than": "90d" })).await.json();
    assert_eq!((&told["dry_run"], &told["jobs"]), (&json!(true), &json!([])), "{told}");
    let removed = browser.write("POST", path, &json!({ "remove": true, "grace": "1h" })).await.json();
    assert_eq!(removed["dry_run"], json!(false), "{removed}");
    let wrong = browser.write("POST", path, &json!({ "grace": "soon" })).await;
    assert_eq!(wrong.json()["type"], json!("/api#invalid_request"), "{}", wrong.text);
}

#[tokio::test]
async fn a_family_is_rolled_back_and_a_rollout_needs_a_target() {
    let (house, browser) = approved().await;
    for version in ["1.0.0", "1.0.1"] {
        let wish = json!({ "to": version, "actor": "anna", "reason": "a trial" });
        browser.write("PUT", "/api/v1/families/law-lora/aliases/champion", &wish).await;
    }
    let path = "/api/v1/families/law-lora/rollback";
    let rehearsed = browser.write("POST", path, &json!({ "dry_run": true })).await.json();
    assert_eq!((&rehearsed["to"], &rehearsed["dry_run"]), (&json!("law-lora-v1.0.0"), &json!(true)));
    assert_eq!(browser.write("POST", path, &json!({})).await.status, StatusCode::BAD_REQUEST);
    let went = browser.write("POST", path, &json!({ "actor": "anna", "reason": "worse" })).await.json();
    assert_eq!((&went["from"], &went["replicas"]), (&json!("law-lora-v1.0.1"), &json!([])), "{went}");
    let champion = house.driver.adapter("law-lora@champion").await.unwrap();
    assert_eq!(champion.version.adapter_id, "law-lora-v1.0.0");
    let by_hand = json!({ "actor": "anna", "reason": "a trial" });
    let nowhere = browser.write("POST", "/api/v1/adapters/law-lora-v1.0.0/rollout", &by_hand).await;
    assert!(nowhere.text.contains("is on no target yet"), "{}", nowhere.text);
    for path in ["/api/v1/served", "/api/v1/served?fresh=true"] {
        assert_eq!(browser.get(path).await.json(), json!([]));
    }
}

#[tokio::test]
async fn labels_calibrate_judges() {
    let (_house, browser) = approved().await;
    let label = json!({ "sample_id": "s1", "scores": { "accuracy": 2.0 }, "actor": "anna" });
    let put = browser.write("POST", "/api/v1/adapters/law-lora-v1.0.0/labels", &label).await;
    assert_eq!(
        (&put.json()["actor"], &put.json()["source"]),
        (&json!("anna"), &json!("label")),
        "{}",
        put.text
    );
    let wrong = json!({ "sample_id": "s1", "scores": { "beauty": 2.0 }, "actor": "anna" });
    let refused = browser.write("POST", "/api/v1/adapters/law-lora-v1.0.0/labels", &wrong).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(browser.get("/api/v1/labels?adapter=law-lora-v1.0.0").await.json(), json!([put.json()]));
    assert_eq!(browser.get("/api/v1/labels?adapter=law-lora-v1.0.1").await.json(), json!([]));
    let calibrated = browser.write("POST", "/api/v1/calibrations", &json!({ "actor": "anna" })).await.json();
    assert_eq!(
        (&calibrated["calibrations"][0]["labels"], &calibrated["unknown_judges"]),
        (&json!(1), &json!([]))
    );
    let listed = browser.get("/api/v1/calibrations").await.json();
    assert_eq!(listed[0]["standing"]["state"], json!("uncalibrated"), "{listed}");
    assert!(
        Criterion::ALL.iter().any(|criterion| listed[0]["criteria"].get(criterion.to_string()).is_some())
    );
}

/// Names of the fields of a document.
fn fields(document: &Value) -> BTreeSet<String> {
    document.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn documents_about_versions_have_the_fields_that_are_described() {
    let (_house, browser) = approved().await;
    let described: Value = serde_json::from_str(crate::web::reference::OPENAPI).unwrap();
    let empty = json!({});
    let rehearsal = json!({ "dry_run": true });
    for version in ["1.0.0", "1.0.1"] {
        let wish = json!({ "to": version, "actor": "anna", "reason": "a trial" });
        browser.write("PUT", "/api/v1/families/law-lora/aliases/champion", &wish).await;
    }
    for (path, body, schema) in [
        ("adapters/law-lora-v1.0.0/lineage", None, "Lineage"),
        ("adapters/law-lora-v1.0.0/diff?to=law-lora-v1.0.1", None, "Difference"),
        ("audit/verification", None, "AuditVerification"),
        ("registry/verification", Some(&empty), "Verification"),
        ("registry/garbage", Some(&empty), "Garbage"),
        ("families/law-lora/rollback", Some(&rehearsal), "RolledBack"),
    ] {
        let path = format!("/api/v1/{path}");
        let seen = match body {
            Some(body) => browser.write("POST", &path, body).await,
            None => browser.get(&path).await,
        };
        assert_eq!(seen.status, StatusCode::OK, "{path}: {}", seen.text);
        let schema = &described["components"]["schemas"][schema]["properties"];
        assert_eq!(fields(&seen.json()), fields(schema), "{path}");
    }
}
