//! The specification file: the fields of a job in TOML, all of them optional.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use clara_lifecycle::{
    gate::GatePolicy,
    id::{ClassName, Domain},
    retry::RetryPolicy,
    rubric::{Rubric, RubricChoice},
    spec::{GenerationOptions, IngestOptions, JudgeOptions, Method, TrainingOptions},
};
use serde::Deserialize;

/// What a specification file may hold; what it leaves out has its default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SpecFile {
    pub(super) domain: Option<Domain>,
    pub(super) ingest: IngestOptions,
    pub(super) golden_dataset: Option<String>,
    pub(super) base_model: Option<String>,
    pub(super) method: Option<Method>,
    pub(super) training: TrainingOptions,
    pub(super) generation: GenerationOptions,
    pub(super) judge: JudgeOptions,
    pub(super) gate: GatePolicy,
    pub(super) retry: RetryPolicy,
    pub(super) version: Option<semver::Version>,
    pub(super) rollout_targets: Vec<String>,
    pub(super) priority: Option<u8>,
    pub(super) resource_class: Option<ClassName>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) idempotency_key: Option<String>,
    /// The keys of `judge` that the file sets.
    #[serde(skip)]
    pub(super) judge_keys: Vec<String>,
}

impl SpecFile {
    /// Reads a file; without one everything has its default.
    pub(super) fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the specification file {}", path.display()))?;
        let unusable = || format!("the specification file {} cannot be used", path.display());
        let mut file = Self::parse(&text).with_context(unusable)?;
        file.judge.rubric = with_content(file.judge.rubric, path.parent()).with_context(unusable)?;
        Ok(file)
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut file: Self = toml::from_str(text)?;
        let table: toml::Table = toml::from_str(text)?;
        let judge = table.get("judge").and_then(toml::Value::as_table);
        file.judge_keys = judge.map(|judge| judge.keys().cloned().collect()).unwrap_or_default();
        Ok(file)
    }
}

/// The rubric with its content: a name that none that comes with Clara has is the path of a JSON file, beside the
/// specification file in `folder`.
fn with_content(rubric: RubricChoice, folder: Option<&Path>) -> Result<RubricChoice> {
    let (RubricChoice::Named(name), Err(_)) = (&rubric, rubric.rubric()) else { return Ok(rubric) };
    let path = folder.unwrap_or(Path::new("")).join(name);
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("judge.rubric is neither de nor en, and cannot be read from {}", path.display())
    })?;
    let own: Rubric = serde_json::from_str(&text)
        .with_context(|| format!("judge.rubric: {} is not a rubric", path.display()))?;
    Ok(RubricChoice::Own(Box::new(own)))
}
