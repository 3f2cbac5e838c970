//! What the pages and the REST interface answer, and to whom.

use std::net::SocketAddr;

use axum::{
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{
        HeaderMap, Request, StatusCode,
        header::{CONTENT_TYPE, COOKIE, SET_COOKIE},
    },
};
use clara_lifecycle::{
    gate::Decision,
    job::{Event, JobState},
    samples,
    stage::Stage,
};
use clara_runtime::config::PageAudience;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::testing::{House, claim, complete_until, golden};

pub(super) struct Browser {
    pub(super) router: Router,
    peer: SocketAddr,
}

pub(super) struct Seen {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Seen {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Browser {
    pub(super) fn of(house: &House) -> Self {
        Self::from(house, PageAudience::Loopback, "127.0.0.1:50000")
    }

    fn from(house: &House, audience: PageAudience, peer: &str) -> Self {
        Self { router: router(&house.control(), audience).unwrap(), peer: peer.parse().unwrap() }
    }

    pub(super) async fn send(&self, mut request: Request<Body>) -> Seen {
        request.extensions_mut().insert(ConnectInfo(self.peer));
        if !request.headers().contains_key("host") {
            request.headers_mut().insert("host", "127.0.0.1:7401".parse().unwrap());
        }
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let text = String::from_utf8(to_bytes(body, 1 << 24).await.unwrap().to_vec()).unwrap();
        Seen { status: parts.status, headers: parts.headers, text }
    }

    pub(super) async fn get(&self, path: &str) -> Seen {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(super) async fn write(&self, method: &str, path: &str, body: &Value) -> Seen {
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }
}

fn form(path: &str, body: &str, cookie: &str) -> Request<Body> {
    let request = Request::post(path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    request.header(COOKIE, cookie).body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn every_answer_forbids_foreign_scripts_and_frames() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    for path in ["/", "/assets/clara.css", "/nowhere", "/api/v1/jobs"] {
        let seen = browser.get(path).await;
        let policy = seen.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
            "{path}: {policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(seen.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(seen.header("referrer-policy"), "same-origin", "{path}");
    }
}

#[tokio::test]
async fn only_this_machine_sees_pages_unless_the_settings_open_them() {
    let house = House::new().await;
    let (far, near) = ("10.1.2.3:50000", "127.0.0.1:50000");
    let refused = Browser::from(&house, PageAudience::Loopback, far).get("/").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(Browser::from(&house, PageAudience::Everyone, far).get("/").await.status, StatusCode::OK);
    assert_eq!(Browser::from(&house, PageAudience::Loopback, near).get("/").await.status, StatusCode::OK);
    assert!(router(&house.control(), PageAudience::Nobody).is_none());
}

#[tokio::test]
async fn a_foreign_name_that_leads_to_this_machine_reads_nothing() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    for (host, status) in [
        ("evil.example:7401", StatusCode::FORBIDDEN),
        ("localhost:7401", StatusCode::OK),
        ("[::1]:7401", StatusCode::OK),
    ] {
        let request = Request::get("/api/v1/jobs").header("host", host).body(Body::empty()).unwrap();
        assert_eq!(browser.send(request).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn writes_from_other_sites_are_refused() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    let freeze = |name: &str, value: &str| {
        Request::post("/api/v1/golden/law-golden/freeze")
            .header(CONTENT_TYPE, "application/json")
            .header(name, value)
            .body(Body::from(json!({ "actor": "anna" }).to_string()))
            .unwrap()
    };
    for (name, value, refused) in [
        ("sec-fetch-site", "cross-site", true),
        ("sec-fetch-site", "same-site", true),
        ("origin", "http://evil.example", true),
        ("origin", "null", true),
        ("sec-fetch-site", "same-origin", false),
        ("origin", "http://127.0.0.1:7401", false),
    ] {
        let seen = browser.send(freeze(name, value)).await;
        assert_eq!(seen.status == StatusCode::FORBIDDEN, refused, "{name}: {value} gave {}", seen.status);
    }
}

#[tokio::test]
async fn a_form_needs_the_token_of_its_cookie() {
    let house = House::new().await;
    let browser = Browser::of(&house);
    let asked = browser.get("/name").await;
    let cookie = asked.header("set-cookie").split(';').next().unwrap().to_owned();
    let token = cookie.split_once('=').unwrap().1;
    assert!(asked.text.contains(token) && asked.header("set-cookie").contains("SameSite=Strict"));
    let forged = browser.send(form("/name", "name=Mallory&token=", &cookie)).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    let without = browser.send(form("/name", &format!("name=Mallory&token={token}"), "")).await;
    assert_eq!(without.status, StatusCode::FORBIDDEN);
    let kept =
        browser.send(form("/name", &format!("name=%C3%84nne+M&token={token}&next=//evil"), &cookie)).await;
    assert_eq!((kept.status, kept.header("location")), (StatusCode::SEE_OTHER, "/"));
    for next in ["/%09/evil", "/%0D%0A/evil", "/%5Cevil"] {
        let body = format!("name=Anne&token={token}&next={next}");
        let elsewhere = browser.send(form("/name", &body, &cookie)).await;
        assert_eq!((elsewhere.status, elsewhere.header("location")), (StatusCode::SEE_OTHER, "/"), "{next}");
    }
    let name = kept.headers.get(SET_COOKIE).unwrap().to_str().unwrap().split(';').next().unwrap().to_owned();
    let known = browser.send(Request::get("/").header(COOKIE, &name).body(Body::empty()).unwrap()).await;
    assert!(known.text.contains("Änne M"), "{name}");
}

/// Text that a model or a user may write to become markup.
const ATTACK: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><b>";

#[tokio::test]
async fn pages_show_foreign_text_as_text() {
    let house = House::new().await;
    let mut golden = golden("1.1.0");
    golden.description = ATTACK.to_owned();
    golden.samples[0].prompt = ATTACK.to_owned();
    golden.samples[0].expected_output = ATTACK.repeat(20);
    house.driver.put_golden(golden, false).await.unwrap();
    let mut spec = samples::spec();
    // A quote that is never closed is no query.
    spec.ingest.query = Some(ATTACK.replace('"', ""));
    spec.labels.insert("note".to_owned(), ATTACK.to_owned());
    let job = house.submit(spec).await.id;
    let key = claim(&house.driver, &job, Stage::Ingest).await;
    let failed = Event::Failed { key, message: ATTACK.to_owned(), retryable: false };
    house.driver.apply(&job, failed).await.unwrap();
    let browser = Browser::of(&house);
    for path in
        [format!("/jobs/{job}"), "/golden/law-golden".to_owned(), "/".to_owned(), "/golden".to_owned()]
    {
        let page = browser.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.text.contains("&lt;script&gt;alert(1)"), "{path} does not show it");
        for part in ["<script>alert", "<img src=x", "\"'><b>"] {
            assert!(!page.text.contains(part), "{path} holds {part}");
        }
    }
}

#[tokio::test]
async fn a_job_can_be_cancelled_and_resumed_from_its_page() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let browser = Browser::of(&house);
    let asked = browser.get(&format!("/jobs/{job}")).await;
    let cookie = asked.header("set-cookie").split(';').next().unwrap().to_owned();
    let token = format!("token={}", cookie.split_once('=').unwrap().1);
    let cancelled = browser.send(form(&format!("/jobs/{job}/cancel"), &token, &cookie)).await;
    assert_eq!(cancelled.header("location"), format!("/jobs/{job}"), "{}", cancelled.text);
    assert_eq!(house.job(&job).await.state, JobState::Cancelled);
    let retried =
        browser.send(form(&format!("/jobs/{job}/retry"), &format!("{token}&from=ingest"), &cookie)).await;
    assert_eq!(retried.status, StatusCode::SEE_OTHER, "{}", retried.text);
    assert_ne!(house.job(&job).await.state, JobState::Cancelled);
}

#[tokio::test]
async fn a_version_shows_decision_origin_and_audit_trail() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &job, Some(Stage::Judge), Decision::Review).await;
    let browser = Browser::of(&house);
    let listed = browser.get("/registry").await;
    assert!(listed.text.contains("href=\"/registry/law-lora-v1.0.0\""), "{}", listed.text);
    let version = browser.get("/registry/law-lora-v1.0.0").await;
    for part in ["adapter.registered", "law-golden@1.0.0", job.as_str(), "pending review"] {
        assert!(version.text.contains(part), "{part} is missing in {}", version.text);
    }
    assert_eq!(browser.get("/registry/law-lora-v9.9.9").await.status, StatusCode::NOT_FOUND);
}
