//! The specification of a job as REST clients write it: what is left out has the defaults of `clara job submit`.

use std::collections::BTreeMap;

use clara_lifecycle::{
    gate::GatePolicy,
    id::{ClassName, Domain, GoldenReference},
    retry::RetryPolicy,
    spec::{GenerationOptions, IngestOptions, JobSpec, JudgeOptions, Method, TrainingOptions},
};
use serde::Deserialize;

const DEFAULT_PRIORITY: u8 = 5;

/// A specification with gaps.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpecBody {
    domain: Domain,
    golden_dataset: GoldenReference,
    base_model: String,
    #[serde(default)]
    ingest: IngestOptions,
    method: Option<Method>,
    #[serde(default)]
    training: TrainingOptions,
    #[serde(default)]
    generation: GenerationOptions,
    #[serde(default)]
    judge: JudgeOptions,
    #[serde(default)]
    gate: GatePolicy,
    #[serde(default)]
    retry: RetryPolicy,
    version: Option<semver::Version>,
    #[serde(default)]
    rollout_targets: Vec<String>,
    priority: Option<u8>,
    #[serde(default)]
    resource_class: ClassName,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    idempotency_key: Option<String>,
}

impl From<SpecBody> for JobSpec {
    fn from(body: SpecBody) -> Self {
        Self {
            domain: body.domain,
            ingest: body.ingest,
            golden_dataset: body.golden_dataset,
            base_model: body.base_model,
            method: body.method.unwrap_or(Method::Lora),
            training: body.training,
            generation: body.generation,
            judge: body.judge,
            gate: body.gate,
            retry: body.retry,
            version: body.version,
            rollout_targets: body.rollout_targets,
            priority: body.priority.unwrap_or(DEFAULT_PRIORITY),
            resource_class: body.resource_class,
            labels: body.labels,
            idempotency_key: body.idempotency_key,
        }
    }
}
