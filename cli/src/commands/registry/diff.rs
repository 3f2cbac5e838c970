//! In what two versions differ.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use clap::Args;
use clara_lifecycle::score::{Evaluation, SampleScore};
use clara_runtime::artifacts::ArtifactStore;
use serde::Serialize;
use serde_json::Value;

use super::{
    super::DONE,
    weights::{self, LayerNorms, Update},
};
use crate::{client::AdapterDocument, figures, session::Session};

/// How many samples and layers the table shows.
const SHOWN: usize = 15;

/// Parts of a record that are told elsewhere or differ always.
const APART: [&str; 5] = ["metrics", "evaluation", "reviews", "rollouts", "signature"];

/// Which versions are compared.
#[derive(Debug, Clone, Args)]
pub(crate) struct DiffArgs {
    /// The older version: its id, FAMILY@ALIAS or FAMILY@RANGE
    from: String,
    /// The newer version
    to: String,
    /// Compare the records alone, not the answers and the weights
    #[arg(long)]
    records_only: bool,
}

/// What two versions do not share.
#[derive(Debug, Serialize)]
struct Difference {
    from: String,
    to: String,
    metrics: Vec<MetricChange>,
    fields: Vec<FieldChange>,
    /// Samples that both answered, the greatest loss first; `null` when the evaluations cannot be read.
    samples: Option<Vec<SampleChange>>,
    /// The update of every layer; `null` when the adapters cannot be read.
    layers: Option<Vec<LayerNorms>>,
}

#[derive(Debug, PartialEq, Serialize)]
struct MetricChange {
    metric: String,
    old: Option<f64>,
    new: Option<f64>,
    delta: Option<f64>,
    delta_percent: Option<f64>,
    /// One-sided 95 % bounds, lower and upper.
    old_bounds: Option<[f64; 2]>,
    new_bounds: Option<[f64; 2]>,
}

#[derive(Debug, PartialEq, Serialize)]
struct FieldChange {
    field: String,
    old: Value,
    new: Value,
}

/// One golden sample that both versions answered.
#[derive(Debug, PartialEq, Serialize)]
struct SampleChange {
    sample_id: String,
    old_score: f64,
    new_score: f64,
    delta: f64,
    /// Whether both gave the same answer.
    same_answer: bool,
    old_answer: String,
    new_answer: String,
}

pub(super) async fn run(session: &Session, args: &DiffArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let old = connection.client.adapter(&args.from).await?;
    let new = connection.client.adapter(&args.to).await?;
    let mut difference = compare(&old, &new)?;
    if !args.records_only {
        let store = session.artifacts()?;
        difference.samples = told(session, "answers", samples(&store, &old, &new).await);
        difference.layers = told(session, "weights", layers(&store, &old, &new).await);
    }
    if session.output.is_json() {
        session.output.json(&difference)?;
    } else {
        print(session, &difference)?;
    }
    Ok(DONE)
}

/// What could be compared; what could not is told, and the rest goes on.
fn told<T>(session: &Session, what: &str, compared: Result<T>) -> Option<T> {
    compared.map_err(|error| session.output.note(format!("the {what} are not compared: {error:#}"))).ok()
}

async fn samples(
    store: &ArtifactStore,
    old: &AdapterDocument,
    new: &AdapterDocument,
) -> Result<Vec<SampleChange>> {
    let (old, new) = (evaluation(store, old).await?, evaluation(store, new).await?);
    Ok(sample_changes(&old.results, &new.results))
}

async fn evaluation(store: &ArtifactStore, adapter: &AdapterDocument) -> Result<Evaluation> {
    let record = adapter.version.evaluation.as_ref().and_then(|record| record.evaluation.as_ref());
    let artifact = record.with_context(|| format!("{} has no evaluation", adapter.version.adapter_id))?;
    let bytes = store.read(artifact, "evaluation.json").await?;
    serde_json::from_slice(&bytes).context("evaluation.json cannot be read")
}

fn sample_changes(old: &[SampleScore], new: &[SampleScore]) -> Vec<SampleChange> {
    let old: BTreeMap<_, _> = old.iter().map(|score| ((&score.sample_id, &score.prompt), score)).collect();
    let change = |score: &SampleScore| {
        let before = old.get(&(&score.sample_id, &score.prompt))?;
        Some(SampleChange {
            sample_id: score.sample_id.clone(),
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

async fn layers(
    store: &ArtifactStore,
    old: &AdapterDocument,
    new: &AdapterDocument,
) -> Result<Vec<LayerNorms>> {
    let (old, new) = (update(store, old).await?, update(store, new).await?);
    Ok(weights::compare(&old, &new))
}

async fn update(store: &ArtifactStore, adapter: &AdapterDocument) -> Result<Update> {
    let version = &adapter.version;
    let lineage = version.lineage.as_ref();
    let lineage =
        lineage.with_context(|| format!("{} was imported without its files", version.adapter_id))?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    store.fetch(&lineage.adapter, folder.path()).await?;
    Update::read(folder.path())
}

fn print(session: &Session, difference: &Difference) -> Result<()> {
    let output = session.output;
    let bounds = |bounds: Option<[f64; 2]>| {
        bounds.map(|[lower, upper]| format!(" ({lower:.1} to {upper:.1})")).unwrap_or_default()
    };
    let metrics = difference.metrics.iter().map(|change| {
        [
            change.metric.clone(),
            figures::number(change.old, 3) + &bounds(change.old_bounds),
            figures::number(change.new, 3) + &bounds(change.new_bounds),
            figures::number(change.delta, 3),
            figures::percent(change.delta_percent.map(|percent| percent / 100.0)),
        ]
    });
    output.table(["metric", "old", "new", "delta", "delta %"], metrics.collect())?;
    output.line("")?;
    let rows =
        difference.fields.iter().map(|change| [change.field.clone(), shown(&change.old), shown(&change.new)]);
    output.table(["field", "old", "new"], rows.collect())?;
    if let Some(samples) = &difference.samples {
        output.line(format!("\n{} samples that both answered, the greatest loss first", samples.len()))?;
        let rows = samples.iter().take(SHOWN).map(|sample| {
            let answer = if sample.same_answer { "the same" } else { sample.new_answer.as_str() };
            [
                sample.sample_id.clone(),
                figures::number(Some(sample.old_score), 1),
                figures::number(Some(sample.new_score), 1),
                figures::number(Some(sample.delta), 1),
                figures::excerpt(&figures::plain(answer), 60),
            ]
        });
        output.table(["sample", "old", "new", "delta", "new answer"], rows.collect())?;
    }
    if let Some(layers) = &difference.layers {
        let mut sorted: Vec<&LayerNorms> = layers.iter().collect();
        sorted.sort_by(|a, b| b.difference.unwrap_or(f64::MAX).total_cmp(&a.difference.unwrap_or(f64::MAX)));
        output.line(format!(
            "\nnorm of the update of {} layers, the greatest difference first",
            layers.len()
        ))?;
        let rows = sorted.into_iter().take(SHOWN).map(|layer| {
            [
                layer.module.clone(),
                figures::number(layer.old, 4),
                figures::number(layer.new, 4),
                figures::number(layer.difference, 4),
                figures::number(layer.cosine, 3),
            ]
        });
        output.table(["layer", "old", "new", "difference", "cosine"], rows.collect())?;
    }
    Ok(())
}

fn compare(old: &AdapterDocument, new: &AdapterDocument) -> Result<Difference> {
    let names: BTreeSet<_> = old.version.metrics.keys().chain(new.version.metrics.keys()).collect();
    let mut metrics: Vec<MetricChange> = names
        .into_iter()
        .map(|name| change_of(name, old.version.metrics.get(name), new.version.metrics.get(name)))
        .collect();
    if let Some(score) = metrics.iter_mut().find(|change| change.metric == "llm_judge_score") {
        (score.old_bounds, score.new_bounds) = (bounds_of(old), bounds_of(new));
    }
    let mut fields = Vec::new();
    push_changes("", &content(old)?, &content(new)?, &mut fields);
    Ok(Difference {
        from: old.version.adapter_id.clone(),
        to: new.version.adapter_id.clone(),
        metrics,
        fields,
        samples: None,
        layers: None,
    })
}

/// The bounds of the judge score.
fn bounds_of(adapter: &AdapterDocument) -> Option<[f64; 2]> {
    let report = &adapter.version.evaluation.as_ref()?.report;
    Some([report.lower_bound?, report.upper_bound?])
}

/// The document without the parts that have tables of their own.
fn content(adapter: &AdapterDocument) -> Result<Value> {
    let mut content = serde_json::to_value(adapter)?;
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
    MetricChange {
        metric: name.to_owned(),
        old: old.copied(),
        new: new.copied(),
        delta,
        delta_percent,
        old_bounds: None,
        new_bounds: None,
    }
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

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => figures::NONE.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    figures::excerpt(&text, 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_listed_by_its_path() {
        let old = serde_json::json!({ "rank": 8, "lineage": { "job": "a", "golden": "g@1.0.0" } });
        let new = serde_json::json!({ "rank": 16, "lineage": { "job": "b", "golden": "g@1.0.0" } });
        let mut changes = Vec::new();
        push_changes("", &old, &new, &mut changes);
        let fields: Vec<_> = changes.iter().map(|change| change.field.as_str()).collect();
        assert_eq!(fields, ["lineage.job", "rank"]);
    }

    #[test]
    fn a_metric_that_one_version_lacks_has_no_delta() {
        let change = change_of("pass_rate", None, Some(&3.0));
        assert_eq!((change.delta, change.delta_percent), (None, None));
        assert_eq!(change_of("x", Some(&50.0), Some(&75.0)).delta_percent, Some(50.0));
    }
}
