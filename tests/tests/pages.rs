//! The web page in a real browser, over data that came in by its own interface.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use clara_lifecycle::{
    attempt::Progress,
    curve::{CurvePoint, StepPoint, ValidationPoint},
    gate::{Decision, GateEvidence, GateMode, GateReport, Reason},
    id::JobId,
    job::{AttemptKey, Event, JobState},
    results::{AnswersResult, DatasetResult, EvaluationResult, StageResult, TrainingResult},
    samples,
};
use clara_tests::{Browser, Site, until};
use serde_json::{Value, json};

const DESKTOP: (u32, u32) = (1200, 900);
const PHONE: (u32, u32) = (500, 900);
/// Text that would run if a page took it for markup.
const ATTACK: &str = "<script>window.attacked = 1</script><img src=x onerror='window.attacked = 2'>";

fn golden(site: &Site) -> Result<()> {
    let sample = |number: usize| {
        json!({
            "prompt": format!("Frage {number}: Wer entscheidet über den Bauantrag? {ATTACK}"),
            "expected_output": format!("Die Bauaufsichtsbehörde, § 36 BauGB. {ATTACK}"),
            "difficulty": if number.is_multiple_of(3) { "hard" } else { "medium" },
        })
    };
    let samples: Vec<Value> = (1..=30).map(sample).collect();
    let dataset = json!({ "dataset_id": "baurecht-golden", "domain": "baurecht", "version": "1.0.0", "samples": samples });
    site.call("PUT", "/golden/baurecht-golden", &dataset)?;
    site.call("POST", "/golden/baurecht-golden/freeze", &json!({ "actor": "anna" }))?;
    Ok(())
}

fn submit(site: &Site) -> Result<JobId> {
    let spec = json!({
        "domain": "baurecht", "golden_dataset": "baurecht-golden", "base_model": "smollm2-135m-instruct.gguf",
        "ingest": { "sources": ["law.jsonl"], "query": "Photovoltaik Baurecht" }, "labels": { "tenant": "nord" },
    });
    let job = site.call("POST", "/jobs", &spec)?;
    Ok(job.get("id").and_then(Value::as_str).context("the job has no id")?.parse()?)
}

fn real(number: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(number)?))
}

fn point(step: u64) -> Result<CurvePoint> {
    let loss = 1.2 + 2.4 / (1.0 + real(step)? / 12.0) + 0.05 * (real(step)? * 1.7).sin();
    Ok(CurvePoint::Step(StepPoint {
        step,
        loss,
        learning_rate: 2e-4 * (1.0 - real(step)? / 130.0),
        grad_norm: 1.0,
    }))
}

/// Progress of a training of 120 steps.
fn steps(from: u64, to: u64) -> Result<Progress> {
    let mut progress =
        Progress { counter: to, done: to, total: Some(120), unit: "steps".to_owned(), ..Progress::default() };
    progress.figures = BTreeMap::from([("loss".to_owned(), 1.5), ("tokens_per_second".to_owned(), 412.0)]);
    for step in from..=to {
        progress.measured(point(step)?);
    }
    Ok(progress)
}

fn ingested() -> StageResult {
    StageResult::Ingest(DatasetResult {
        dataset: samples::artifact("dataset"),
        documents_read: 412,
        documents_kept: 371,
        dropped: BTreeMap::new(),
        train_records: 334,
        validation_records: 37,
        source_digest: samples::digest("sources"),
        key: None,
        reused_from: None,
    })
}

fn trained(site: &Site, name: &str) -> Result<StageResult> {
    let mut lines = Vec::new();
    for step in 1..=120 {
        lines.push(serde_json::to_string(&point(step)?)?);
        if step % 40 == 0 {
            let validation = ValidationPoint { step, validation_loss: 1.3 + 60.0 / real(step)? / 2.0 };
            lines.push(serde_json::to_string(&CurvePoint::Validation(validation))?);
        }
    }
    let report =
        site.store(&format!("reports/{name}"), &BTreeMap::from([("metrics.jsonl", lines.join("\n"))]))?;
    Ok(StageResult::Train(TrainingResult {
        adapter: samples::artifact("adapter"),
        report,
        base_model: "smollm2-135m-instruct".to_owned(),
        base_model_digest: samples::digest("base"),
        validation_loss_before: Some(3.1),
        validation_loss_after: Some(1.55),
        training_loss: 1.42,
        steps: 120,
        tokens: 98_304,
    }))
}

fn evaluation(mean: f64) -> Value {
    let result = |number: u32| {
        json!({
            "sample_id": format!("baurecht-golden-{number}"), "adapter_id": "baurecht-lora-v1.0.0",
            "prompt": format!("Frage {number}: Wer entscheidet über den Bauantrag?"),
            "adapter_output": format!("Die Gemeinde entscheidet. {ATTACK}"),
            "expected_output": "Die Bauaufsichtsbehörde im Einvernehmen mit der Gemeinde.",
            "overall_score": mean - 15.0 + f64::from(number % 30),
            "criteria_scores": { "accuracy": 8.0, "relevance": 8.5, "style": 9.0, "completeness": 7.0, "coherence": 9.0 },
            "judge_reasoning": format!("Richtig, aber knapp. {ATTACK}"), "passed": number > 4,
            "evaluated_at": "2026-01-01T00:00:00Z", "judge_model": "qwen3-32b",
        })
    };
    let results: Vec<Value> = (1..=30).map(result).collect();
    json!({
        "format": 1, "results": results, "knowledge_gaps": [], "unscored": [], "champion": null,
        "summary": {
            "total_samples": 30, "scored": 30, "unscored": 0, "passed": 26, "failed": 4, "pass_rate": 86.7,
            "average_score": mean, "min_score": 61.0, "max_score": 97.0, "adapter_id": "baurecht-lora-v1.0.0",
            "criteria_averages": { "accuracy": 8.0, "relevance": 8.5, "style": 9.0, "completeness": 7.0, "coherence": 9.0 },
            "golden_dataset_id": "baurecht-golden@1.0.0", "evaluated_at": "2026-01-01T00:00:00Z", "knowledge_gaps_detected": 4,
        },
        "judge": {
            "judge_id": "qwen3-32b", "model": "qwen3-32b", "url": "http://judge.example/v1", "rubric_version": "de-1",
            "rubric_digest": samples::digest("rubric"), "prompt_digest": samples::digest("prompt"), "calibrated": false,
        },
    })
}

/// A job from submission to the gate's decision.
fn judged(site: &Site, mean: f64, decision: Decision) -> Result<JobId> {
    let job = submit(site)?;
    site.complete(&job, "ingest-1", ingested())?;
    site.complete(&job, "gpu-1", trained(site, job.as_str())?)?;
    let answers = AnswersResult {
        answers: samples::artifact("answers"),
        candidate_nll: 1.9,
        champion_nll: None,
        base_nll: 2.6,
    };
    site.complete(&job, "gpu-1", StageResult::Generate(answers))?;
    let evaluation = BTreeMap::from([("evaluation.json", evaluation(mean).to_string())]);
    let evaluation = site.store(&format!("evaluations/{job}"), &evaluation)?;
    let scores = EvaluationResult {
        evaluation,
        samples: 30,
        unscored: 0,
        average_score: Some(mean),
        pass_rate: Some(0.867),
    };
    site.complete(&job, "judge-1", StageResult::Judge(scores))?;
    let text = format!("the mean is {mean}");
    let report = GateReport {
        decision,
        reasons: vec![Reason { code: "mean".to_owned(), text }],
        mode: GateMode::Point,
        mean: Some(mean),
        lower_bound: Some(mean - 3.0),
        upper_bound: Some(mean + 3.0),
        scored: 30,
        unscored: 0,
        pass_rate: Some(0.867),
        champion_delta: None,
        evidence: GateEvidence::default(),
    };
    site.complete(&job, "coordinator", StageResult::Gate(report))?;
    Ok(job)
}

/// A job whose training has done some of its 120 steps.
fn training(site: &Site, done: u64) -> Result<(JobId, AttemptKey)> {
    let job = submit(site)?;
    site.complete(&job, "ingest-1", ingested())?;
    let key = site.claim(&job, "gpu-2")?;
    site.progress(&job, key, steps(1, done)?)?;
    Ok((job, key))
}

/// Kept for the documentation when `SCREENSHOTS` names a folder.
fn keep(browser: &Browser, name: &str) -> Result<()> {
    let Some(folder) = std::env::var_os("SCREENSHOTS") else { return Ok(()) };
    browser.screenshot(&Path::new(&folder).join(name))
}

fn untroubled(browser: &Browser, path: &str) -> Result<()> {
    let attacked = browser.run("return window.attacked ?? null")?;
    ensure!(attacked.is_null(), "{path} ran foreign text: {attacked}");
    let complaints = browser.complaints()?;
    ensure!(complaints.is_empty(), "{path}: {complaints:?}");
    Ok(())
}

#[test]
fn every_page_is_shown_without_complaint_and_runs_no_foreign_text() -> Result<()> {
    let site = Site::start()?;
    golden(&site)?;
    let decided = judged(&site, 86.0, Decision::Reject)?;
    judged(&site, 79.0, Decision::Review)?;
    let (job, _) = training(&site, 40)?;
    let stuck = submit(&site)?;
    let key = site.claim(&stuck, "ingest-1")?;
    site.apply(&stuck, Event::Failed { key, message: format!("no source: {ATTACK}"), retryable: false })?;
    let browser = Browser::start(DESKTOP, false)?;
    for (path, words, image) in [
        ("/".to_owned(), "waiting for a person", Some("overview.png")),
        ("/jobs?state=active".to_owned(), "active", None),
        (format!("/jobs/{job}"), "40 of 120 steps", Some("job.png")),
        (format!("/jobs/{decided}"), "the mean is 86", None),
        (format!("/jobs/{stuck}"), "<script>window.attacked", None),
        ("/registry".to_owned(), "baurecht-lora", Some("registry.png")),
        ("/registry/baurecht-lora-v1.0.0".to_owned(), "26 of 30 pass", Some("version.png")),
        ("/golden".to_owned(), "frozen", None),
        ("/golden/baurecht-golden".to_owned(), "30 samples", None),
        ("/api".to_owned(), "/jobs/{job}/retry", None),
        ("/name".to_owned(), "Who are you?", None),
    ] {
        browser.open(&site.url(&path))?;
        browser.wait_for(words)?;
        // What is folded is shown, too.
        browser.run(
            "document.querySelectorAll('#evaluation details').forEach((fold, n) => fold.open = n < 1)",
        )?;
        untroubled(&browser, &path)?;
        let paint = browser.first_paint_ms()?;
        eprintln!("{path}: first paint after {paint:.0} ms");
        if let Some(image) = image {
            keep(&browser, image)?;
        }
    }
    let phone = Browser::start(PHONE, true)?;
    phone.open(&site.url(&format!("/jobs/{job}")))?;
    let wider = phone.run("return document.documentElement.scrollWidth - window.innerWidth")?;
    ensure!(wider.as_i64().is_some_and(|wider| wider <= 0), "the page is {wider} px wider than the window");
    let background = phone.run("return getComputedStyle(document.body).backgroundColor")?;
    ensure!(background == "rgb(17, 21, 27)", "dark mode has the background {background}");
    keep(&phone, "job-phone-dark.png")
}

#[test]
fn a_job_is_followed_live_and_cancelled_by_keyboard() -> Result<()> {
    let site = Site::start()?;
    golden(&site)?;
    let (job, key) = training(&site, 40)?;
    let browser = Browser::start(DESKTOP, false)?;
    browser.open(&site.url(&format!("/jobs/{job}")))?;
    browser.run("window.same = true")?;
    browser.wait_for("40 of 120 steps")?;
    site.progress(&job, key, steps(41, 90)?)?;
    browser.wait_for("90 of 120 steps")?;
    site.apply(&job, Event::Completed { key, result: trained(&site, "live")?.into() })?;
    browser.wait_for("baurecht-lora-v1.0.0")?;
    ensure!(browser.run("return window.same")? == true, "the page was loaded anew");
    let drawn =
        "const image = document.querySelector('img.curve'); return image.complete && image.naturalWidth";
    until("the curve", || Ok(browser.run(drawn)?.as_i64().filter(|width| *width == 880)))?;
    browser.run("document.querySelector('button.danger').focus()")?;
    browser.press("\u{e007}")?;
    until("the question", || Ok(browser.confirm().ok()))?;
    browser.wait_for("cancelled")?;
    ensure!(site.job(&job)?.state == JobState::Cancelled, "the job is not cancelled");
    untroubled(&browser, "the job")
}
