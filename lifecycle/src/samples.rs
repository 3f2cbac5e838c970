//! Small sample values for tests, here and in other crates (feature "testing").

use std::collections::BTreeMap;

use crate::{
    answers::{Answer, Answers, FinishReason, SampleAnswers},
    artifact::{ArtifactFile, ArtifactRef},
    attempt::GoldenInput,
    digest::Digest,
    gate::GatePolicy,
    golden::GoldenDataset,
    id::ClassName,
    retry::RetryPolicy,
    rubric::{Language, Rubric},
    score::{
        AnswerDetails, CriteriaScores, Criterion, Evaluation, EvaluationContext, JudgeIdentity, Judgement,
        Scored,
    },
    spec::{GenerationOptions, IngestOptions, JobSpec, JudgeOptions, Method, TrainingOptions},
};

/// The digest of a short text.
pub fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// An artifact of one file.
pub fn artifact(name: &str) -> ArtifactRef {
    let file = ArtifactFile { path: format!("{name}.json"), size_bytes: 2, digest: digest(name) };
    ArtifactRef { prefix: format!("samples/{name}"), files: vec![file] }
}

/// A pinned golden dataset.
pub fn golden_input() -> GoldenInput {
    GoldenInput {
        reference: "law-golden@1.0.0".to_owned(),
        digest: digest("golden"),
        artifact: artifact("golden"),
    }
}

/// A sound specification.
///
/// # Panics
/// Never: its names are valid.
#[expect(clippy::expect_used, reason = "the names are constants that are valid")]
pub fn spec() -> JobSpec {
    JobSpec {
        domain: "law".parse().expect("a domain"),
        ingest: IngestOptions { sources: vec!["law.jsonl".to_owned()], ..IngestOptions::default() },
        golden_dataset: "law-golden".parse().expect("a reference"),
        base_model: "model.gguf".to_owned(),
        method: Method::Lora,
        training: TrainingOptions::default(),
        generation: GenerationOptions::default(),
        judge: JudgeOptions::default(),
        gate: GatePolicy::default(),
        retry: RetryPolicy::default(),
        version: None,
        rollout_targets: Vec::new(),
        priority: 5,
        resource_class: ClassName::default(),
        labels: BTreeMap::new(),
        idempotency_key: None,
    }
}

/// A judge that no person was compared with.
pub fn judge_identity(model: &str) -> JudgeIdentity {
    let (rubric_digest, prompt_digest) = (digest("rubric"), digest("prompt"));
    let judge_id = format!("{model}#{}-{}", prompt_digest.short(), rubric_digest.short());
    let url = "http://localhost/v1".to_owned();
    JudgeIdentity {
        judge_id,
        model: model.to_owned(),
        url,
        rubric_version: "de-1".to_owned(),
        rubric_digest,
        prompt_digest,
        calibrated: false,
        fingerprint: None,
    }
}

/// An evaluation of samples `s0`, `s1` … with these overall scores (0–100), each criterion alike.
///
/// # Panics
/// When a score is out of range.
#[expect(clippy::expect_used, reason = "the document is complete")]
pub fn evaluation(adapter_id: &str, scores: &[f64]) -> Evaluation {
    let result = |(index, score): (usize, &f64)| {
        let criteria: BTreeMap<_, _> =
            Criterion::ALL.into_iter().map(|criterion| (criterion, score / 10.0)).collect();
        serde_json::json!({
            "sample_id": format!("s{index}"), "adapter_id": adapter_id, "prompt": format!("question {index}"),
            "adapter_output": "answer", "expected_output": "expected", "overall_score": score,
            "criteria_scores": criteria, "judge_reasoning": "reply", "passed": *score >= 70.0,
            "evaluated_at": "2026-01-02T03:04:05Z", "judge_model": "judge-model",
        })
    };
    let results: Vec<_> = scores.iter().enumerate().map(result).collect();
    let passed = scores.iter().filter(|score| **score >= 70.0).count();
    let document = serde_json::json!({
        "format": 1,
        "summary": {
            "total_samples": scores.len(), "scored": scores.len(), "unscored": 0, "passed": passed,
            "failed": scores.len() - passed, "pass_rate": null, "average_score": crate::statistics::mean(scores),
            "min_score": null, "max_score": null, "criteria_averages": {}, "adapter_id": adapter_id,
            "golden_dataset_id": "golden@1.0.0", "evaluated_at": "2026-01-02T03:04:05Z",
            "knowledge_gaps_detected": 0,
        },
        "results": results, "knowledge_gaps": [], "judge": judge_identity("judge-model"), "unscored": [],
        "champion": null, "golden_digest": digest("golden"),
    });
    serde_json::from_value(document).expect("a complete evaluation")
}

/// Two answers to one sample with what the judge said about them.
#[derive(Debug, Clone)]
pub struct JudgedAnswers {
    /// The new version's.
    pub candidate: (String, Judgement),
    /// The champion's, if there is one.
    pub champion: Option<(String, Judgement)>,
}

/// The same score for every criterion, and details.
///
/// # Panics
/// When the score is not between 0 and 10.
#[expect(clippy::expect_used, reason = "the caller gives a score from 0 to 10")]
pub fn judged(score: f64, details: AnswerDetails) -> Judgement {
    let scores = Criterion::ALL.map(|criterion| (criterion, score));
    let scores = CriteriaScores::new(scores.into()).expect("scores from 0 to 10");
    let reply = format!("all criteria get {score}");
    Judgement::Scored(Scored { scores, reply, details })
}

/// Answers and evaluation of `adapter_id` beside `law-lora-v0.9.0`; `judged` says what becomes of the sample with each number.
pub fn evaluation_of(
    golden: &GoldenDataset,
    adapter_id: &str,
    judged: impl Fn(usize) -> JudgedAnswers,
) -> (Answers, Evaluation) {
    let all: Vec<_> =
        golden.samples.iter().enumerate().map(|(number, sample)| (sample, judged(number))).collect();
    let answer = |text: &str| Answer {
        text: text.to_owned(),
        finish_reason: FinishReason::Stop,
        tokens: 1,
        expected_nll: 1.0,
        expected_tokens: 1,
        opening: Vec::new(),
    };
    let has_champion = all.iter().any(|(_, judged)| judged.champion.is_some());
    let samples = all.iter().map(|(sample, judged)| SampleAnswers {
        sample_id: sample.sample_id.clone(),
        candidate: answer(&judged.candidate.0),
        champion: judged.champion.as_ref().map(|(text, _)| answer(text)),
        base: answer("base"),
    });
    let answers = Answers {
        format: 1,
        adapter_id: adapter_id.to_owned(),
        champion_id: has_champion.then(|| "law-lora-v0.9.0".to_owned()),
        base_model: "tiny".to_owned(),
        golden_dataset: golden.reference().to_string(),
        golden_digest: golden.digest(),
        generation: GenerationOptions::default(),
        samples: samples.collect(),
    };
    let judge = judge_identity("judge");
    let context = EvaluationContext {
        golden,
        answers: &answers,
        judge: &judge,
        rubric: &Rubric::built_in(Language::German),
        pass_at: 70.0,
        evaluated_at: "2026-01-01T00:00:00Z",
    };
    let id = |sample: &crate::golden::GoldenSample| sample.sample_id.clone();
    let candidate: BTreeMap<_, _> =
        all.iter().map(|(sample, judged)| (id(sample), judged.candidate.1.clone())).collect();
    let champion: BTreeMap<_, _> = all
        .iter()
        .filter_map(|(sample, judged)| Some((id(sample), judged.champion.as_ref()?.1.clone())))
        .collect();
    let evaluation = Evaluation::new(context, &candidate, has_champion.then_some(&champion));
    (answers, evaluation)
}
