//! A version in review, as large as a test wants it, without a training.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use clara_lifecycle::{
    artifact::ArtifactRef,
    gate::{Decision, GateEvidence, GateMode, GateReport, Reason},
    golden::{GoldenDataset, GoldenSample},
    id::JobId,
    results::{AnswersResult, DatasetResult, EvaluationResult, StageResult, TrainingResult},
    samples::{self, JudgedAnswers},
    score::{AnswerDetails, CheckFinding, Criterion, CriterionVote, Evaluation, Flag, JudgeVote, Scoring},
};
use serde_json::{Value, json};

use crate::Site;

/// The version that [`version_in_review`] makes.
pub const REVIEWED: &str = "law-lora-v1.0.0";

/// The text that the first answer holds: nothing of it may become markup.
pub const HOSTILE: &str = "</textarea></script><script>window.broken = 1</script><img src=x onerror=\"window.broken = 2\"><b>fett</b>";

const TOPICS: [(&str, &str, &str); 5] = [
    (
        "Wann ist eine Photovoltaikanlage im Außenbereich zulässig?",
        "§ 35 Abs. 1 Nr. 8 BauGB",
        "§ 34 Abs. 1 BauGB",
    ),
    ("Wer ist Eigentümer im Sinne des Grundgesetzes?", "Art. 14 Abs. 1 GG", "Art. 12 Abs. 1 GG"),
    ("Welche Frist gilt für den Widerspruch?", "§ 70 Abs. 1 VwGO", "§ 74 Abs. 1 VwGO"),
    ("Wann ist ein Verwaltungsakt nichtig?", "§ 44 Abs. 1 VwVfG", "§ 48 Abs. 1 VwVfG"),
    ("Wer schuldet die Grundsteuer?", "§ 10 Abs. 1 GrStG", "§ 9 Abs. 1 GrStG"),
];

/// Leads a job to a version in review whose golden dataset has so many samples.
///
/// # Errors
/// When something cannot be stored.
pub fn version_in_review(site: &Site, count: usize) -> Result<()> {
    let golden = golden(count)?;
    site.call("PUT", "/golden/law-golden", &serde_json::to_value(&golden)?)?;
    site.call("POST", "/golden/law-golden/freeze", &json!({ "actor": "anna" }))?;
    let spec = json!({
        "domain": "law", "golden_dataset": "law-golden", "base_model": "tiny",
        "ingest": { "sources": ["law.jsonl"] },
    });
    let job = site.call("POST", "/jobs", &spec)?;
    let job: JobId = job.get("id").and_then(Value::as_str).context("the job has no id")?.parse()?;
    let (answers, evaluation) = samples::evaluation_of(&golden, REVIEWED, judged);
    let answers =
        site.store("generated", &BTreeMap::from([("answers.json", serde_json::to_string(&answers)?)]))?;
    let judged =
        site.store("judged", &BTreeMap::from([("evaluation.json", serde_json::to_string(&evaluation)?)]))?;
    for result in results(&evaluation, answers, judged) {
        site.complete(&job, "worker-1", result)?;
    }
    Ok(())
}

fn golden(count: usize) -> Result<GoldenDataset> {
    let mut golden = GoldenDataset::new(
        "law-golden".parse()?,
        "law".parse()?,
        "anna".to_owned(),
        "2026-01-01T00:00:00Z".to_owned(),
    );
    for number in 0..count {
        let (question, provision, _) = topic(number);
        let mut sample = GoldenSample::new(
            format!("Fall {number}: {question}"),
            format!(
                "Maßgeblich ist {provision}. Danach kommt es auf den Einzelfall an; im Fall {number} sind die \
                 Voraussetzungen erfüllt, weil öffentliche Belange nicht entgegenstehen und die Erschließung gesichert ist."
            ),
        );
        sample.sample_id = format!("fall-{number:04}");
        golden.add(sample);
    }
    Ok(golden)
}

fn topic(number: usize) -> (&'static str, &'static str, &'static str) {
    TOPICS.get(number % TOPICS.len()).copied().unwrap_or_default()
}

/// Every seventh answer cites the wrong provision, which a hard check found; every fifth divides the judges.
fn judged(number: usize) -> JudgedAnswers {
    let (_, right, wrong) = topic(number);
    let is_wrong = number % 7 == 3;
    let cited = if is_wrong { wrong } else { right };
    let hostile = if number == 0 { HOSTILE } else { "" };
    let candidate = format!(
        "{hostile}Maßgeblich ist {cited}. Es kommt auf den Einzelfall an; im Fall {number} sind die Voraussetzungen gegeben, \
         weil öffentliche Belange nicht entgegenstehen."
    );
    let champion = format!("Nach {right} ist der Fall {number} zu bejahen; die Erschließung ist gesichert.");
    let base: f64 = match number % 4 {
        _ if is_wrong => 4.0,
        0 => 7.5,
        1 => 9.0,
        2 => 8.0,
        _ => 9.5,
    };
    let apart = if number % 5 == 2 { 3.0 } else { 0.5 };
    let checks = CheckFinding {
        code: "citation_missing".to_owned(),
        is_hard: true,
        text: format!("{right} is not cited"),
    };
    let details = AnswerDetails {
        checks: if is_wrong { vec![checks] } else { Vec::new() },
        metrics: None,
        votes: vec![vote("judge-small", base - apart), vote("judge-large", (base + apart).min(10.0))],
        flags: if number == 0 { vec![Flag::Injection] } else { Vec::new() },
    };
    JudgedAnswers {
        candidate: (candidate, samples::judged(base, details)),
        champion: Some((champion, samples::judged(8.0, AnswerDetails::default()))),
    }
}

fn vote(judge_id: &str, mean: f64) -> JudgeVote {
    let mean = mean.clamp(0.0, 10.0);
    let reason = |criterion| match criterion {
        Criterion::Accuracy => "Die Norm wird geprüft; die Subsumtion ist knapp.",
        Criterion::Completeness => "Die Erschließung fehlt.",
        Criterion::Relevance | Criterion::Style | Criterion::Coherence => "Sachlich und verständlich.",
    };
    let of = |criterion| CriterionVote {
        mean,
        mode: mean.round(),
        entropy: 0.4,
        reason: Some(reason(criterion).to_owned()),
    };
    let criteria: BTreeMap<_, _> = Criterion::ALL.map(|criterion| (criterion, of(criterion))).into();
    JudgeVote { judge_id: judge_id.to_owned(), criteria, scoring: Scoring::Repeats, replies: Vec::new() }
}

fn results(evaluation: &Evaluation, answers: ArtifactRef, judged: ArtifactRef) -> Vec<StageResult> {
    let summary = &evaluation.summary;
    vec![
        StageResult::Ingest(DatasetResult {
            dataset: samples::artifact("dataset"),
            documents_read: 10,
            documents_kept: 10,
            dropped: BTreeMap::new(),
            train_records: 9,
            validation_records: 1,
            source_digest: samples::digest("sources"),
            key: None,
            reused_from: None,
        }),
        StageResult::Train(TrainingResult {
            adapter: samples::artifact("adapter"),
            report: samples::artifact("report"),
            base_model: "tiny".to_owned(),
            base_model_digest: samples::digest("tiny"),
            validation_loss_before: Some(5.0),
            validation_loss_after: Some(4.0),
            training_loss: 4.1,
            steps: 10,
            tokens: 1000,
        }),
        StageResult::Generate(AnswersResult {
            answers,
            candidate_nll: 2.0,
            champion_nll: Some(2.1),
            base_nll: 2.5,
        }),
        StageResult::Judge(EvaluationResult {
            evaluation: judged,
            samples: summary.total_samples,
            unscored: 0,
            average_score: summary.average_score,
            pass_rate: summary.pass_rate.map(|percent| percent / 100.0),
        }),
        StageResult::Gate(GateReport {
            decision: Decision::Review,
            reasons: vec![Reason {
                code: "judge_uncalibrated".to_owned(),
                text: "the judge was not compared with human labels".to_owned(),
            }],
            mode: GateMode::Bounds,
            mean: summary.average_score,
            lower_bound: summary.average_score.map(|mean| mean - 2.5),
            upper_bound: summary.average_score.map(|mean| mean + 2.0),
            scored: u32::try_from(summary.scored).unwrap_or(u32::MAX),
            unscored: 0,
            pass_rate: summary.pass_rate.map(|percent| percent / 100.0),
            champion_delta: None,
            evidence: GateEvidence::default(),
        }),
    ]
}
