//! Small sample values for tests, here and in other crates (feature "testing").

use std::collections::BTreeMap;

use crate::{
    artifact::{ArtifactFile, ArtifactRef},
    attempt::GoldenInput,
    digest::Digest,
    gate::GatePolicy,
    id::ClassName,
    retry::RetryPolicy,
    score::{Criterion, Evaluation, JudgeIdentity},
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
