//! Attacks on the judge, run through checks, fence and a judge that falls for everything, up to the decision.

mod corpus;

use clara_lifecycle::{
    answers::{Answer, Answers, FinishReason, SampleAnswers},
    citation::{Citation, Cited},
    gate::{Decision, GateReport, decide},
    golden::GoldenDataset,
    score::{Evaluation, HARD_CHECK_OVERALL},
    spec::{GenerationOptions, JudgeOptions},
    text::{fold, words},
};

use super::world::World;
use crate::testing::{Call, Canned, Double};
use corpus::{ATTACKS, Attack, Layer};

/// Real questions about administrative law, with the answers of an expert.
fn golden() -> GoldenDataset {
    let text = include_str!("../../../../examples/verwaltungsrecht/golden.json");
    serde_json::from_str(text).unwrap()
}

/// The same with the first provision of each expected output as a check.
fn golden_with_checks() -> GoldenDataset {
    let mut golden = golden();
    for sample in &mut golden.samples {
        let cited = Cited::of(&sample.expected_output);
        sample.checks.must_cite.extend(cited.citations().first().map(Citation::provision));
    }
    golden
}

fn answers(golden: &GoldenDataset, text: fn(usize, &GoldenDataset) -> String) -> Answers {
    let answer = |text: String| {
        let (finish_reason, tokens, expected_nll, expected_tokens) = (FinishReason::Stop, 5, 1.0, 5);
        Answer { text, finish_reason, tokens, expected_nll, expected_tokens, opening: Vec::new() }
    };
    let samples = golden.samples.iter().enumerate().map(|(index, sample)| SampleAnswers {
        sample_id: sample.sample_id.clone(),
        candidate: answer(text(index, golden)),
        champion: None,
        base: answer("base".into()),
    });
    Answers {
        format: 1,
        adapter_id: "verwaltungsrecht-lora-v1.0.0".into(),
        champion_id: None,
        base_model: "base".into(),
        golden_dataset: golden.reference().to_string(),
        golden_digest: golden.digest(),
        generation: GenerationOptions::default(),
        samples: samples.collect(),
    }
}

/// Top marks for whatever is asked, with enough spread not to give itself away.
fn gullible(call: &Call) -> Canned {
    Canned::scores(if call.raw.len().is_multiple_of(3) { 9 } else { 10 })
}

/// Marks by the words that answer and reference share; a simple judge that looks at what it is given.
fn attentive(call: &Call) -> Canned {
    let (task, turn) = (call.body["messages"][1]["content"].as_str().unwrap_or_default(), call.last_turn());
    let part = |text: &str, from: &str, to: &str| -> String {
        let rest = text.split_once(from).map_or("", |(_, rest)| rest);
        fold(rest.split_once(to).map_or(rest, |(inside, _)| inside))
    };
    let reference = part(task, "Referenz:\n", "\n\n");
    let answer = part(turn, "<<<ANTWORT ", "<<<ENDE");
    let expected: Vec<_> = words(&reference).collect();
    let found = expected.iter().filter(|word| words(&answer).any(|other| other == **word)).count();
    let top = if call.raw.len().is_multiple_of(3) { 9 } else { 10 };
    Canned::scores(if found * 10 >= expected.len() * 9 { top } else { 1 })
}

async fn judged(
    golden: &GoldenDataset,
    text: fn(usize, &GoldenDataset) -> String,
    judge: fn(&Call) -> Canned,
) -> (Evaluation, GateReport) {
    judged_beside(0, golden, text, judge).await
}

/// As a job is judged that names no number of canaries.
async fn judged_with_canaries(
    golden: &GoldenDataset,
    text: fn(usize, &GoldenDataset) -> String,
    judge: fn(&Call) -> Canned,
) -> (Evaluation, GateReport) {
    judged_beside(JudgeOptions::default().canaries, golden, text, judge).await
}

async fn judged_beside(
    canaries: u32,
    golden: &GoldenDataset,
    text: fn(usize, &GoldenDataset) -> String,
    judge: fn(&Call) -> Canned,
) -> (Evaluation, GateReport) {
    let double = Double::start(judge).await;
    let mut world = World::of(&double.url, golden, answers(golden, text)).await;
    world.options().canaries = canaries;
    // Not even a calibrated judge is a safeguard here.
    world.options().calibrated = true;
    world.options().concurrency = 8;
    let (evaluation, _) = world.judge().await.unwrap();
    let report = decide(&world.assignment.spec.gate, &evaluation.gate_input());
    (evaluation, report)
}

#[tokio::test]
async fn honest_answers_pass_an_attentive_judge() {
    for golden in [golden(), golden_with_checks()] {
        let honest = |index: usize, golden: &GoldenDataset| golden.samples[index].expected_output.clone();
        let (evaluation, report) = judged(&golden, honest, attentive).await;
        assert_eq!(report.decision, Decision::Approve, "{:?}", report.reasons);
        assert!(evaluation.results.iter().all(|result| result.passed));
    }
}

#[tokio::test]
async fn answers_that_say_nothing_or_always_the_same_are_rejected_though_the_judge_gives_top_marks() {
    let golden = golden();
    for Attack { name, layer, answer } in ATTACKS {
        let (evaluation, report) = judged(&golden, answer, gullible).await;
        let most = evaluation.results.iter().map(|result| result.overall_score).fold(0.0, f64::max);
        let unjudged =
            evaluation.results.iter().all(|result| result.judge_reasoning.starts_with("not judged: "));
        let hard = evaluation.results.iter().all(|result| result.details.failed_hard());
        let found = match (unjudged, hard) {
            (true, _) => Layer::NotJudged,
            (false, true) => Layer::Capped,
            (false, false) => Layer::SampleChecks,
        };
        assert_eq!(found, layer, "{name}: {:?}", evaluation.results[0].details);
        match layer {
            Layer::NotJudged => assert!(most < 1e-9, "{name}: {most}"),
            Layer::Capped => assert!(most <= HARD_CHECK_OVERALL, "{name}: {most}"),
            Layer::SampleChecks => continue,
        }
        assert_eq!(report.decision, Decision::Reject, "{name}");
    }
}

#[tokio::test]
async fn where_samples_have_no_checks_a_judge_that_falls_for_everything_is_found_out_by_its_canaries() {
    let golden = golden();
    for Attack { name, layer, answer } in ATTACKS {
        if layer == Layer::SampleChecks {
            let (_, report) = judged_with_canaries(&golden, answer, gullible).await;
            let is_found_out = report.reasons.iter().any(|reason| reason.code == "canary_failed");
            assert!(is_found_out, "{name}: {:?}", report.reasons);
            assert_eq!(report.decision, Decision::Error, "{name}");
        }
    }
}

#[tokio::test]
async fn checks_of_the_samples_alone_reject_wrong_answers_whatever_is_appended_to_them() {
    let golden = golden_with_checks();
    for Attack { name, layer, answer } in ATTACKS {
        if layer == Layer::SampleChecks {
            let (evaluation, report) = judged(&golden, answer, gullible).await;
            let capped = evaluation.results.iter().filter(|result| result.details.failed_hard()).count();
            assert_eq!(report.decision, Decision::Reject, "{name}: {capped} capped, {:?}", report.reasons);
        }
    }
}

#[test]
fn the_attack_table_names_every_attack_of_the_corpus() {
    let page = include_str!("../../../../docs/judge.md");
    for Attack { name, layer, .. } in ATTACKS {
        let layer = match layer {
            Layer::NotJudged => "not judged",
            Layer::Capped => "capped",
            Layer::SampleChecks => "checks of the sample",
        };
        let row = page.lines().find(|line| line.starts_with(&format!("| {name} |")));
        let row = row.unwrap_or_else(|| panic!("docs/judge.md has no row for `{name}`"));
        assert!(row.contains(layer), "docs/judge.md says of `{name}`: {row}");
    }
}
