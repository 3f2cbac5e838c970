//! In what two versions differ: metrics, record, answers, and the update of every layer.

mod layers;

use std::collections::{BTreeMap, BTreeSet};

use clara_lifecycle::{
    adapter::AdapterVersion,
    comparison::{Comparison, ComparisonOptions},
    gate::GatePolicy,
    score::{Evaluation, SampleScore},
};
use serde::Serialize;
use serde_json::Value;

pub use layers::{AdapterFiles, LayerNorms, UpdateError, norms};

use crate::{control_service::Control, driver::DriverError, evidence};

/// Larger adapters are compared by `clara registry diff`, which needs no memory of the coordinator.
const LARGEST_ADAPTER_BYTES: u64 = 1 << 30;

/// Parts of a record that are told elsewhere or differ always.
const APART: [&str; 5] = ["metrics", "evaluation", "reviews", "rollouts", "signature"];

/// What two versions do not share.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The older version.
    pub from: String,
    /// The newer version.
    pub to: String,
    /// Every metric that either version has.
    pub metrics: Vec<MetricChange>,
    /// Every other part of the record that differs.
    pub fields: Vec<FieldChange>,
    /// The scores of both, paired by sample; `null` when no sample pairs.
    pub comparison: Option<Comparison>,
    /// Samples that both answered, the greatest loss first; `null` when the evaluations cannot be read.
    pub samples: Option<Vec<SampleChange>>,
    /// The update of every layer; `null` when the adapters cannot be read.
    pub layers: Option<Vec<LayerNorms>>,
    /// What could not be compared, and why.
    pub missing: Vec<String>,
}

/// One metric of two versions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricChange {
    /// Its name.
    pub metric: String,
    /// Value of the older version.
    pub old: Option<f64>,
    /// Value of the newer version.
    pub new: Option<f64>,
    /// The newer value minus the older one.
    pub delta: Option<f64>,
    /// The same in per cent of the older value.
    pub delta_percent: Option<f64>,
    /// One-sided 95 % bounds of the older value, lower and upper.
    pub old_bounds: Option<(f64, f64)>,
    /// One-sided 95 % bounds of the newer value, lower and upper.
    pub new_bounds: Option<(f64, f64)>,
}

/// One part of the record that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// Its path, with dots.
    pub field: String,
    /// What the older version has; `null` for nothing.
    pub old: Value,
    /// What the newer version has; `null` for nothing.
    pub new: Value,
}

/// One golden sample that both versions answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleChange {
    /// The sample.
    pub sample_id: String,
    /// What was asked.
    pub prompt: String,
    /// Overall score of the older version's answer.
    pub old_score: f64,
    /// Overall score of the newer version's answer.
    pub new_score: f64,
    /// The newer score minus the older one.
    pub delta: f64,
    /// Whether both gave the same answer.
    pub same_answer: bool,
    /// The older version's answer.
    pub old_answer: String,
    /// The newer version's answer.
    pub new_answer: String,
}

impl Difference {
    /// Compares two records: each a version, and the document of it that users see.
    ///
    /// # Errors
    /// When a document cannot be written as JSON.
    pub fn of_records<D: Serialize>(
        (old, old_document): (&AdapterVersion, &D),
        (new, new_document): (&AdapterVersion, &D),
    ) -> Result<Self, serde_json::Error> {
        let names: BTreeSet<_> = old.metrics.keys().chain(new.metrics.keys()).collect();
        let mut metrics: Vec<MetricChange> = names
            .into_iter()
            .map(|name| change_of(name, old.metrics.get(name), new.metrics.get(name)))
            .collect();
        if let Some(score) = metrics.iter_mut().find(|change| change.metric == "llm_judge_score") {
            (score.old_bounds, score.new_bounds) = (bounds(old), bounds(new));
        }
        let mut fields = Vec::new();
        push_changes("", &content(old_document)?, &content(new_document)?, &mut fields);
        Ok(Self {
            from: old.adapter_id.clone(),
            to: new.adapter_id.clone(),
            metrics,
            fields,
            comparison: None,
            samples: None,
            layers: None,
            missing: Vec::new(),
        })
    }

    /// Adds how both answered; that no sample pairs is told in `missing`.
    pub fn add_answers(&mut self, old: &Evaluation, new: &Evaluation) {
        self.samples = Some(sample_changes(&old.results, &new.results));
        let options = ComparisonOptions { margin: 0.0, seed: GatePolicy::default().seed, force: true };
        match Comparison::of(new, old, options) {
            Ok(comparison) => self.comparison = Some(comparison),
            Err(error) => self.missing.push(error.to_string()),
        }
    }
}

impl Control {
    /// Compares two versions by their records and files. What cannot be read is told, and the rest compared.
    pub(crate) async fn difference(&self, from: &str, to: &str) -> Result<Difference, DriverError> {
        let (old, new) = (self.driver.adapter(from).await?, self.driver.adapter(to).await?);
        let compared = Difference::of_records((&old.version, &old), (&new.version, &new));
        let mut difference = compared.map_err(|error| DriverError::Record {
            key: new.version.adapter_id.clone(),
            reason: error.to_string(),
        })?;
        match self.both_evaluations(&old.version, &new.version).await {
            Ok((before, after)) => difference.add_answers(&before, &after),
            Err(why) => difference.missing.push(format!("the answers are not compared: {why}")),
        }
        match self.layers(&old.version, &new.version).await {
            Ok(layers) => difference.layers = Some(layers),
            Err(why) => difference.missing.push(format!("the weights are not compared: {why}")),
        }
        Ok(difference)
    }

    async fn both_evaluations(
        &self,
        old: &AdapterVersion,
        new: &AdapterVersion,
    ) -> Result<(Evaluation, Evaluation), String> {
        Ok((self.stored_evaluation(old).await?, self.stored_evaluation(new).await?))
    }

    async fn stored_evaluation(&self, version: &AdapterVersion) -> Result<Evaluation, String> {
        let record = version.evaluation.as_ref().and_then(|record| record.evaluation.as_ref());
        let artifact = record.ok_or_else(|| format!("{} has no evaluation here", version.adapter_id))?;
        evidence::evaluation(&self.artifacts, artifact).await.map_err(|error| error.to_string())
    }

    async fn layers(&self, old: &AdapterVersion, new: &AdapterVersion) -> Result<Vec<LayerNorms>, String> {
        let (old, new) = (self.adapter_files(old).await?, self.adapter_files(new).await?);
        let compared = tokio::task::spawn_blocking(move || norms(&old, &new)).await;
        compared.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    async fn adapter_files(&self, version: &AdapterVersion) -> Result<AdapterFiles, String> {
        let lineage = version.lineage.as_ref();
        let adapter =
            &lineage.ok_or_else(|| format!("{} was imported without files", version.adapter_id))?.adapter;
        let size_bytes: u64 = adapter.files.iter().map(|file| file.size_bytes).sum();
        if size_bytes > LARGEST_ADAPTER_BYTES {
            return Err(format!(
                "{} has {size_bytes} bytes, at most {LARGEST_ADAPTER_BYTES} are read here; `clara registry diff` compares it",
                version.adapter_id
            ));
        }
        let read = async |name: &str| {
            self.artifacts.read(adapter, name).await.map(Vec::from).map_err(|error| error.to_string())
        };
        let (config, tensors) =
            (read("adapter_config.json").await?, read("adapter_model.safetensors").await?);
        Ok(AdapterFiles { config, tensors })
    }
}

/// The one-sided 95 % bounds of the judge score, as the gate had them.
fn bounds(version: &AdapterVersion) -> Option<(f64, f64)> {
    let report = &version.evaluation.as_ref()?.report;
    report.lower_bound.zip(report.upper_bound)
}

/// The document without the parts that have tables of their own.
fn content(document: &impl Serialize) -> Result<Value, serde_json::Error> {
    let mut content = serde_json::to_value(document)?;
    if let Some(content) = content.as_object_mut() {
        for part in APART {
            content.remove(part);
        }
    }
    Ok(content)
}

fn change_of(name: &str, old: Option<&f64>, new: Option<&f64>) -> MetricChange {
    let delta = old.zip(new).map(|(old, new)| new - old);
    let delta_percent =
        old.zip(delta).filter(|(old, _)| old.abs() > 0.0).map(|(old, delta)| delta / old.abs() * 100.0);
    let (metric, old, new) = (name.to_owned(), old.copied(), new.copied());
    MetricChange { metric, old, new, delta, delta_percent, old_bounds: None, new_bounds: None }
}

/// Collects the leaves in which two documents differ, by their path.
fn push_changes(path: &str, old: &Value, new: &Value, changes: &mut Vec<FieldChange>) {
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
                push_changes(&path, &of(before), &of(after), changes);
            }
        }
        _ if old == new => {}
        _ => changes.push(FieldChange { field: path.to_owned(), old: old.clone(), new: new.clone() }),
    }
}

fn sample_changes(old: &[SampleScore], new: &[SampleScore]) -> Vec<SampleChange> {
    let old: BTreeMap<_, _> = old.iter().map(|score| ((&score.sample_id, &score.prompt), score)).collect();
    let change = |score: &SampleScore| {
        let before = old.get(&(&score.sample_id, &score.prompt))?;
        Some(SampleChange {
            sample_id: score.sample_id.clone(),
            prompt: score.prompt.clone(),
            old_score: before.overall_score,
            new_score: score.overall_score,
            delta: score.overall_score - before.overall_score,
            same_answer: before.adapter_output == score.adapter_output,
            old_answer: before.adapter_output.clone(),
            new_answer: score.adapter_output.clone(),
        })
    };
    let mut changes: Vec<_> = new.iter().filter_map(change).collect();
    changes.sort_by(|a, b| a.delta.total_cmp(&b.delta));
    changes
}

#[cfg(test)]
mod tests;
