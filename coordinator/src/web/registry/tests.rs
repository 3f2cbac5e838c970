//! What the pages of the registry show.

use axum::http::StatusCode;
use clara_lifecycle::{gate::Decision, samples, stage::Stage};

use crate::{
    change::Change,
    records::{Stored, audit_chain, audit_key},
    testing::{House, complete_until, judged_in_place, judged_version, remove_old},
    web::tests::Browser,
};

/// Text that a model may write to become markup.
const ATTACK: &str = "<script>alert(1)</script>";

async fn two_versions() -> House {
    let house = House::new().await;
    let mut first = samples::evaluation("law-lora-v1.0.0", &[80.0, 90.0, 70.0]);
    first.results[1].adapter_output = "Nach § 35 BauGB ist das Vorhaben zulässig.".to_owned();
    judged_version(&house, "init", &first).await;
    let mut second = samples::evaluation("law-lora-v1.0.1", &[85.0, 60.0, 70.0]);
    second.results[1].adapter_output = format!("Nach § 34 BauGB ist das Vorhaben unzulässig. {ATTACK}");
    judged_version(&house, "final", &second).await;
    house
}

#[tokio::test]
async fn two_versions_are_chosen_and_compared() {
    let house = two_versions().await;
    let browser = Browser::of(&house);
    let listed = browser.get("/registry").await.text;
    assert!(listed.contains("<option value=\"law-lora-v1.0.0\" selected>"), "{listed}");
    let page = browser.get("/registry/diff?from=law-lora-v1.0.0&to=law-lora-v1.0.1").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    for part in [
        "95 % interval",
        "llm judge score",
        "adapter_checksum",
        "3 samples were answered by both; 1 answers and their scores are the same",
        "<b><span class=\"worse\">-30.0</span></b>",
        "<ins>unzulässig.",
        "<del>zulässig.</del>",
        "cite class=\"alone\"",
        "&lt;script&gt;",
        "Norm of the update of",
        ".q_proj",
    ] {
        assert!(page.text.contains(part), "`{part}` is missing in {}", page.text);
    }
    assert!(!page.text.contains(ATTACK), "{}", page.text);
    let (loss, gain) = (page.text.find("id=\"sample-s1\""), page.text.find("id=\"sample-s0\""));
    assert!(loss.unwrap() < gain.unwrap());
    let unknown = browser.get("/registry/diff?from=law-lora-v1.0.0&to=law-lora-v9.0.0").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn without_two_versions_the_page_lets_them_be_chosen() {
    let house = House::new().await;
    let none = Browser::of(&house).get("/registry/diff").await;
    assert_eq!(none.status, StatusCode::OK, "{}", none.text);
    assert!(none.text.contains("No family has two versions yet"), "{}", none.text);
    let house = two_versions().await;
    let browser = Browser::of(&house);
    for path in ["/registry/diff", "/registry/diff?from=&to=", "/registry/diff?from=law-lora-v1.0.0"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
        for part in [
            "action=\"/registry/diff\"",
            "<option value=\"law-lora-v1.0.0\" selected>",
            "<option value=\"law-lora-v1.0.1\" selected>",
        ] {
            assert!(page.text.contains(part), "`{part}` is missing at {path} in {}", page.text);
        }
        assert!(!page.text.contains("No family"), "{}", page.text);
    }
}

#[tokio::test]
async fn many_answers_come_in_pages() {
    let house = House::new().await;
    judged_version(&house, "init", &samples::evaluation("law-lora-v1.0.0", &[80.0; 120])).await;
    judged_version(&house, "final", &samples::evaluation("law-lora-v1.0.1", &[70.0; 120])).await;
    let browser = Browser::of(&house);
    let at = async |after: usize| {
        let path = format!("/registry/diff?from=law-lora-v1.0.0&to=law-lora-v1.0.1&after={after}");
        let text = browser.get(&path).await.text;
        (text.matches("id=\"sample-").count(), text.contains("after=0#"), text.contains("after=100#"))
    };
    assert_eq!(
        (at(0).await, at(50).await, at(100).await),
        ((50, false, false), (50, true, true), (20, false, false))
    );
    assert_eq!(at(usize::MAX).await.0, 0);
}

#[tokio::test]
async fn the_model_card_is_shown_with_its_licence() {
    let house = two_versions().await;
    let browser = Browser::of(&house);
    let card = browser.get("/registry/law-lora-v1.0.0/card?licence=apache-2.0").await;
    assert_eq!(card.status, StatusCode::OK, "{}", card.text);
    for part in ["<h2>Evaluation</h2>", "adapter_model.safetensors</code>", "license: &quot;apache-2.0&quot;"]
    {
        assert!(card.text.contains(part), "`{part}` is missing in {}", card.text);
    }
    let version = browser.get("/registry/law-lora-v1.0.0").await.text;
    assert!(version.contains("href=\"/registry/law-lora-v1.0.0/card\""), "{version}");
}

#[tokio::test]
async fn a_chain_that_was_tampered_with_is_shown_as_broken() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, Some(Stage::Judge), Decision::Review).await;
    let browser = Browser::of(&house);
    let whole = browser.get("/registry/audit").await.text;
    assert!(whole.contains("chains are whole") && whole.contains("adapter.registered"), "{whole}");
    assert!(browser.get("/registry/law-lora-v1.0.0").await.text.contains("belong to is whole"));
    // As if the newest entry had never been written.
    let chain = audit_chain("law-lora-v1.0.0");
    let head = house.driver.records.audit_head(&chain).await.unwrap();
    let mut later = head.value.clone();
    later.number += 1;
    let mut change = Change::begin(&house.driver).await.unwrap();
    change.write(audit_key(&chain), &Stored { version: head.version, value: &later }).unwrap();
    change.commit().await.unwrap();
    let broken = browser.get("/registry/audit").await.text;
    assert!(broken.contains("entries at its end were removed") && !broken.contains("are whole"), "{broken}");
    assert!(browser.get("/registry/law-lora-v1.0.0").await.text.contains("is broken at entry"));
}

#[tokio::test]
async fn a_version_shows_its_evaluation_when_its_job_is_forgotten_and_none_without_files() {
    let house = House::new().await;
    judged_in_place(&house, Decision::Reject).await;
    remove_old(&house).await;
    let shown = Browser::of(&house).get("/registry/law-lora-v1.0.0").await;
    assert!(shown.status == StatusCode::OK && shown.text.contains("id=\"evaluation\""), "{}", shown.text);
    let there = House::empty();
    let file = house.driver.export_registry().await.unwrap();
    there.driver.import_registry(file, "anna").await.unwrap();
    let shown = Browser::of(&there).get("/registry/law-lora-v1.0.0").await;
    assert!(shown.status == StatusCode::OK && !shown.text.contains("id=\"evaluation\""), "{}", shown.text);
}
