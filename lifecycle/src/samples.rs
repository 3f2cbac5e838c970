//! Small sample values for tests, here and in other crates (feature "testing").

use crate::{
    artifact::{ArtifactFile, ArtifactRef},
    attempt::GoldenInput,
    digest::Digest,
    gate::GatePolicy,
    id::ClassName,
    retry::RetryPolicy,
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
        labels: std::collections::BTreeMap::new(),
        idempotency_key: None,
    }
}
