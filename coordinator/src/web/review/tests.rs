//! The review pages without a browser: what is told to whom, forms, escaping.

use axum::{
    body::Body,
    http::{
        Request, StatusCode,
        header::{CONTENT_TYPE, COOKIE, SET_COOKIE},
    },
};
use clara_lifecycle::{
    golden::GoldenSample,
    samples::{self, JudgedAnswers},
    score::AnswerDetails,
};
use serde_json::json;

use crate::{
    testing::{House, golden, in_review, judged_in_review},
    web::tests::{Browser, Seen},
};

const PAGE: &str = "/review/law-lora-v1.0.0";

/// Someone with a name and the token of a page that was loaded.
struct Reviewer {
    browser: Browser,
    cookie: String,
    token: String,
}

impl Reviewer {
    async fn named(house: &House, name: &str) -> Self {
        let browser = Browser::of(house);
        let seen = browser.get("/review").await;
        let set = seen.headers.get(SET_COOKIE).unwrap().to_str().unwrap();
        let token = set.split_once('=').unwrap().1.split(';').next().unwrap().to_owned();
        Self { browser, cookie: format!("clara_token={token}; clara_name={name}"), token }
    }

    async fn get(&self, path: &str) -> Seen {
        let request = Request::get(path).header(COOKIE, &self.cookie);
        self.browser.send(request.body(Body::empty()).unwrap()).await
    }

    async fn send(&self, path: &str, fields: &str) -> Seen {
        let request = Request::post(path)
            .header(COOKIE, &self.cookie)
            .header("x-part", "1")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let body = format!("token={}&{fields}", self.token);
        self.browser.send(request.body(Body::from(body)).unwrap()).await
    }
}

#[tokio::test]
async fn a_version_is_read_without_a_name_and_without_scripts() {
    let house = House::new().await;
    judged_in_review(&house).await;
    let browser = Browser::of(&house);
    let queue = browser.get("/review").await;
    assert!(queue.text.contains("law-lora-v1.0.0") && queue.text.contains("0 of 2"), "{}", queue.text);
    let page = browser.get(&format!("{PAGE}?sample=bad")).await;
    assert_eq!(page.status, StatusCode::OK);
    for part in ["law-lora-v0.9.0", "older", "no Art. 14", "Das Eigentum", "Say who you are to review"] {
        assert!(page.text.contains(part), "`{part}` is missing in:\n{}", page.text);
    }
    assert!(!page.text.contains("<script>alert") && page.text.contains("&lt;script&gt;"), "{}", page.text);
    assert_eq!(browser.get(&format!("{PAGE}?sample=nonsense")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/review/nonsense").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn forms_change_the_review_once_and_a_stale_one_is_a_conflict() {
    let house = House::new().await;
    judged_in_review(&house).await;
    let (anna, bert) = (Reviewer::named(&house, "anna").await, Reviewer::named(&house, "bert").await);
    let changes = format!("{PAGE}/changes");
    let scores = "change=override&sample=bad&based_on=0&accuracy_mark=4&style=7%2C5&relevance=&reason=falsch";
    let done = anna.send(&changes, scores).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    assert!(
        done.text.contains("scored otherwise") && done.text.contains("data-revision=\"1\""),
        "{}",
        done.text
    );
    let late = bert.send(&changes, scores).await;
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert!(
        late.text.contains("bad was changed meanwhile: anna accuracy 2.0 → 4.0, style 9.0 → 7.5"),
        "{}",
        late.text
    );
    let silent = bert.send(&changes, "change=override&sample=bad&based_on=1&accuracy=3&reason=").await;
    assert_eq!(silent.status, StatusCode::BAD_REQUEST);
    let stale = bert.send(&format!("{PAGE}/verdict"), "verdict=reject&reason=no&revision=0").await;
    assert_eq!(stale.status, StatusCode::CONFLICT);
    let decided = bert.send(&format!("{PAGE}/verdict"), "verdict=reject&reason=no&revision=1").await;
    assert_eq!(decided.status, StatusCode::SEE_OTHER, "{}", decided.text);
    assert!(anna.get(PAGE).await.text.contains("Decided: "));
}

#[tokio::test]
async fn a_blind_answer_names_nobody_until_the_choice() {
    let house = House::new().await;
    judged_in_review(&house).await;
    let anna = Reviewer::named(&house, "anna").await;
    let path = format!("{PAGE}/answers/bad?blind=1");
    let hidden = anna.get(&path).await.text;
    for told in ["Champion", "Candidate", "law-lora-v0.9.0", "no Art. 14", "judge", "90.0", "80.0"] {
        assert!(!hidden.contains(told), "`{told}` is told:\n{hidden}");
    }
    assert!(hidden.contains("Answer 2"));
    let fields = "change=prefer&sample=bad&choice=first&blind=1";
    let shown = anna.send(&format!("{PAGE}/changes"), fields).await.text;
    assert!(shown.contains("chose blindly") && shown.contains("Candidate"), "{shown}");
}

#[tokio::test]
async fn the_rest_interface_answers_what_the_pages_show() {
    let house = House::new().await;
    judged_in_review(&house).await;
    let browser = Browser::of(&house);
    let queue = browser.get("/api/v1/reviews?reviewer=anna").await.json();
    assert_eq!((&queue[0]["samples"], &queue[0]["hard"]), (&json!(2), &json!(1)));
    let change = json!({ "reviewer": "anna", "change": "seen", "sample_id": "bad" });
    let saved = browser.write("POST", "/api/v1/reviews/law-lora-v1.0.0/changes", &change).await;
    assert_eq!(saved.json()["item"]["notes"]["seen_by"], json!(["anna"]), "{}", saved.text);
    let sheet = browser.get("/api/v1/reviews/law-lora-v1.0.0?reviewer=anna").await.json();
    assert_eq!(sheet["lines"][0]["seen"], json!(true));
    let answer = browser.get("/api/v1/reviews/law-lora-v1.0.0/answers/bad").await.json();
    assert_eq!(answer["concerns"][0], json!("hard_check"));
}

/// A version in review with a thousand answers.
async fn of_a_thousand() -> House {
    let house = House::new().await;
    let mut asked = golden("1.0.0");
    asked.samples.clear();
    for number in 0..1_000 {
        let mut sample =
            GoldenSample::new(format!("Fall {number}: Wer plant?"), "Die Gemeinde plant.".to_owned());
        sample.sample_id = format!("fall-{number:04}");
        asked.add(sample);
    }
    let (answers, evaluation) = samples::evaluation_of(&asked, "law-lora-v1.0.0", |number| {
        let judged = |score| samples::judged(score, AnswerDetails::default());
        JudgedAnswers {
            candidate: (
                format!("Im Fall {number} plant die Gemeinde."),
                judged(if number % 7 == 3 { 4.0 } else { 9.0 }),
            ),
            champion: Some((format!("Den Fall {number} plant die Gemeinde."), judged(8.0))),
        }
    });
    in_review(&house, &answers, &evaluation).await;
    house
}

#[tokio::test]
async fn a_page_of_a_thousand_answers_holds_those_around_the_current_one_and_leads_to_all() {
    let house = of_a_thousand().await;
    let browser = Browser::of(&house);
    let listed = |text: &str| text.matches("<li><a ").count();
    let page = browser.get(PAGE).await.text;
    assert_eq!(listed(&page), 40);
    assert!(page.len() < 25_000, "the page has {} bytes", page.len());
    assert!(page.contains("1 of 1000") && page.contains("All 1000 answers"), "{page}");
    let last = browser.get(&format!("{PAGE}?sample=fall-0999")).await.text;
    assert!(
        listed(&last) == 40 && last.contains("data-sample=\"fall-0999\" aria-current=\"true\""),
        "{last}"
    );
    let all = browser.get(&format!("{PAGE}?sample=fall-0999&all=1")).await.text;
    assert!(listed(&all) == 1_000 && !all.contains("data-partial"), "{}", listed(&all));
    let fetched = browser.get(&format!("{PAGE}/answers?sample=fall-0500&blind=1")).await.text;
    assert_eq!(
        (listed(&fetched), fetched.matches("aria-current").count(), fetched.matches("<b>").count()),
        (1_000, 1, 0)
    );
}
