//! The review page in a headless Chromium, driven by keys alone.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use clara_tests::{Browser, Daemon, HOSTILE, Look, REVIEWED, Sandbox, version_in_review};
use serde_json::{Value, json};

const DESKTOP: Look = Look { size: (1440, 1000), is_dark: false };
const DARK: Look = Look { size: (1440, 1000), is_dark: true };
/// Chromium makes no narrower window.
const PHONE: Look = Look { size: (500, 900), is_dark: false };

/// A coordinator over a home with a version in review.
struct Site {
    _sandbox: Sandbox,
    daemon: Daemon,
    url: String,
}

async fn site(samples: usize) -> Result<Site> {
    let sandbox = Sandbox::new(1)?;
    version_in_review(&sandbox.home, samples).await?;
    let daemon = Daemon::start(&sandbox, &["coordinator"], &[("CLARA_SERVE__GRPC_ADDRESS", "127.0.0.1:0")])?;
    daemon.until_ready()?;
    let url = daemon.url()?;
    Ok(Site { _sandbox: sandbox, daemon, url })
}

impl Site {
    fn page(&self) -> String {
        format!("{}/review/{REVIEWED}", self.url)
    }

    /// Opens the page of the version as `name`.
    async fn open(&self, browser: &Browser, name: &str) -> Result<()> {
        browser.open(&format!("{}/name?next=/review/{REVIEWED}", self.url)).await?;
        browser.press(&format!("{name}\n")).await?;
        browser.until("document.querySelector('.review[data-named] .answer') !== null").await
    }

    /// What the REST interface tells.
    fn document(&self, path: &str) -> Result<Value> {
        let (status, body) = self.daemon.get(&format!("/api/v1{path}"))?;
        ensure!(status == 200, "{path} answers {status}: {body}");
        serde_json::from_str(&body).with_context(|| format!("{path} answers no document: {body}"))
    }

    fn status(&self) -> Result<Value> {
        Ok(self.document(&format!("/adapters/{REVIEWED}"))?["status"].clone())
    }
}

/// Answers that the page has as seen.
const SEEN: &str = "document.querySelectorAll('#answers a.seen').length";

#[tokio::test(flavor = "multi_thread")]
async fn thirty_answers_are_reviewed_by_keys_alone_to_a_decision() -> Result<()> {
    let site = site(30).await?;
    let browser = Browser::start(DESKTOP).await?;
    site.open(&browser, "anna").await?;
    browser.until(&format!("{SEEN} === 1")).await?;
    // An override of the first answer: accuracy 2 of 5, relevance 4 of 5, and why.
    let first = browser.value("document.querySelector('.answer').dataset.sample").await?;
    browser.press("s24").await?;
    browser.until("document.activeElement.name === 'style_mark'").await?;
    browser.value("document.querySelector('#scores textarea').focus()").await?;
    browser.press("nennt die falsche Norm\n").await?;
    browser
        .until("document.querySelector('.answer [data-corrected], .answer[data-corrected]') !== null")
        .await?;
    browser.press("c").await?;
    browser.press("bitte nachbessern\n").await?;
    browser.until("document.querySelector('.answer').innerText.includes('bitte nachbessern')").await?;
    for seen in 2..=30 {
        browser.press("j").await?;
        browser.until(&format!("{SEEN} === {seen}")).await?;
    }
    browser.press("k").await?;
    browser.until("document.querySelector('.answer').dataset.next !== undefined").await?;
    browser.press("d").await?;
    browser.until("document.getElementById('marks-champion').checked").await?;
    browser.press("?").await?;
    browser.until("document.getElementById('help').open").await?;
    browser.press("\u{e00c}").await?;
    browser.press("r").await?;
    // Without a reason nothing is decided.
    browser.press("\n").await?;
    ensure!(site.status()? == "in_review");
    browser.press("zwei Normen sind falsch\n").await?;
    browser.until("document.querySelector('h1 .badge.rejected') !== null").await?;
    ensure!(site.status()? == "rejected");
    let log = site.document("/audit")?.to_string();
    for part in ["review.overridden", "nennt die falsche Norm", "zwei Normen sind falsch"] {
        ensure!(log.contains(part), "`{part}` is missing in {log}");
    }
    ensure!(log.contains(first.as_str().context("no first sample")?));
    browser.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn markup_in_answers_and_remarks_stays_text() -> Result<()> {
    let site = site(3).await?;
    let browser = Browser::start(DESKTOP).await?;
    site.open(&browser, "anna").await?;
    for path in ["", "?sample=fall-0000", "?sample=fall-0000&blind=1", "#fall-0000"] {
        browser.open(&format!("{}{path}", site.page())).await?;
        if path.is_empty() {
            continue;
        }
        browser.until("document.querySelector('.answer').dataset.sample === 'fall-0000'").await?;
        let text = browser.value("document.querySelector('.columns').textContent").await?;
        ensure!(text.as_str().is_some_and(|text| text.contains(HOSTILE)), "{path}: {text}");
        let made = "document.querySelectorAll('.answer script, .answer img, .marked b').length";
        ensure!(browser.value(made).await? == json!(0), "{path}");
        ensure!(browser.value("window.broken === undefined").await? == json!(true), "{path}");
    }
    browser.press("c").await?;
    browser.press(&format!("{HOSTILE}\n")).await?;
    browser.until("document.querySelectorAll('.note').length > 0").await?;
    let written = browser.value("document.querySelector('#comment textarea').value").await?;
    ensure!(written == HOSTILE, "{written}");
    ensure!(browser.value("window.broken === undefined").await? == json!(true));
    browser.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_reviewers_the_second_sees_what_the_first_did() -> Result<()> {
    let site = site(3).await?;
    let (anna, bert) = (Browser::start(DESKTOP).await?, Browser::start(DESKTOP).await?);
    site.open(&anna, "anna").await?;
    site.open(&bert, "bert").await?;
    for (browser, mark, reason) in [(&anna, '1', "falsch"), (&bert, '5', "richtig")] {
        browser.press(&format!("s{mark}")).await?;
        browser.value("document.querySelector('#scores textarea').focus()").await?;
        browser.press(&format!("{reason}\n")).await?;
        browser.until("document.querySelector('.answer').innerText.includes('falsch')").await?;
    }
    let told = "document.getElementById('notice').innerText";
    bert.until(&format!("{told}.includes('anna accuracy')")).await?;
    anna.press("a").await?;
    anna.press("geprüft\n").await?;
    anna.until("document.querySelector('h1 .badge.approved') !== null").await?;
    bert.value("document.activeElement.blur()").await?;
    bert.press("r").await?;
    bert.press("nein\n").await?;
    bert.until(&format!("{told}.includes('anna made it approved (geprüft)')")).await?;
    ensure!(site.status()? == "approved");
    anna.close().await?;
    bert.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn blind_mode_names_nobody_before_the_choice() -> Result<()> {
    let site = site(3).await?;
    let browser = Browser::start(DESKTOP).await?;
    site.open(&browser, "anna").await?;
    browser.press("b").await?;
    browser.until("document.querySelector('.answer[data-hidden]') !== null").await?;
    let html = browser
        .value("document.querySelector('#answer').innerText + document.querySelector('#answers').innerText")
        .await?;
    for told in ["Champion", "Candidate", "champion", "Judges"] {
        ensure!(!html.as_str().unwrap_or_default().contains(told), "{told}: {html}");
    }
    browser.press("1").await?;
    browser.until("document.querySelector('.answer').innerText.includes('anna chose blindly')").await?;
    browser.press("j").await?;
    browser.until("document.querySelector('.answer[data-hidden]') !== null").await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_thousand_answers_is_painted_at_once_and_can_be_read_without_scripts() -> Result<()> {
    let site = site(1_000).await?;
    let browser = Browser::start(DESKTOP).await?;
    site.open(&browser, "anna").await?;
    let mut paints = Vec::new();
    for _ in 0..5 {
        browser.open(&site.page()).await?;
        browser.until("performance.getEntriesByName('first-contentful-paint').length === 1").await?;
        let paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime";
        let answered = "performance.getEntriesByType('navigation')[0].responseStart";
        let (paint, answered) = (browser.value(paint).await?, browser.value(answered).await?);
        let bytes = browser.value("performance.getEntriesByType('navigation')[0].encodedBodySize").await?;
        eprintln!("first paint after {paint} ms, answered after {answered} ms, {bytes} bytes");
        paints.push(paint.as_f64().context("no paint")?);
    }
    ensure!(browser.value("document.querySelectorAll('#answers a').length").await? == json!(1_000));
    paints.sort_by(f64::total_cmp);
    let median = paints.get(paints.len() / 2).copied().context("nothing was painted")?;
    eprintln!("median first paint with 1,000 answers: {median:.0} ms");
    // The bar is 200 ms on a machine of its own; other tests may run beside this one.
    ensure!(median < 1_000.0, "the first paint took {median:.0} ms");
    browser.close().await?;
    let (status, page) = site.daemon.get(&format!("/review/{REVIEWED}?sample=fall-0003"))?;
    ensure!(
        status == 200 && page.contains("citation_missing") && page.contains("sample=fall-0004"),
        "{page}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes docs/images; run it after a change of the page"]
async fn pictures_for_the_documentation() -> Result<()> {
    let site = site(30).await?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    std::fs::create_dir_all(&folder)?;
    for (name, look) in [("review-desktop", DESKTOP), ("review-dark", DARK), ("review-phone", PHONE)] {
        let browser = Browser::start(look).await?;
        site.open(&browser, name).await?;
        browser.open(&format!("{}?sample=fall-0003", site.page())).await?;
        browser.until(&format!("{SEEN} >= 1")).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        browser.picture(&folder.join(format!("{name}.png"))).await?;
        browser.close().await?;
    }
    Ok(())
}
