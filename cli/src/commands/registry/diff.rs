//! In what two versions differ.

use anyhow::{Context, Result};
use clap::Args;
use clara_coordinator::{
    difference::{AdapterFiles, Difference, LayerNorms, norms},
    evidence,
};
use clara_lifecycle::{counted::counted, score::Evaluation};
use clara_runtime::artifacts::ArtifactStore;
use serde_json::Value;

use super::super::DONE;
use crate::{client::AdapterDocument, figures, output::Output, session::Session};

/// How many samples and layers the table shows.
const SHOWN: usize = 15;

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

pub(super) async fn run(session: &Session, args: &DiffArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let old = connection.client.adapter(&args.from).await?;
    let new = connection.client.adapter(&args.to).await?;
    let mut difference = Difference::of_records((&old.version, &old), (&new.version, &new))?;
    if !args.records_only {
        let store = session.artifacts()?;
        match evaluations(&store, &old, &new).await {
            Ok((before, after)) => difference.add_answers(&before, &after),
            Err(error) => difference.missing.push(format!("the answers are not compared: {error:#}")),
        }
        match layers(&store, &old, &new).await {
            Ok(layers) => difference.layers = Some(layers),
            Err(error) => difference.missing.push(format!("the weights are not compared: {error:#}")),
        }
    }
    for missing in &difference.missing {
        session.output.note(missing);
    }
    if session.output.is_json() {
        session.output.json(&difference)?;
    } else {
        print(session, &difference)?;
    }
    Ok(DONE)
}

async fn evaluations(
    store: &ArtifactStore,
    old: &AdapterDocument,
    new: &AdapterDocument,
) -> Result<(Evaluation, Evaluation)> {
    Ok((evaluation(store, old).await?, evaluation(store, new).await?))
}

async fn evaluation(store: &ArtifactStore, adapter: &AdapterDocument) -> Result<Evaluation> {
    let record = adapter.version.evaluation.as_ref().and_then(|record| record.evaluation.as_ref());
    let artifact = record.with_context(|| format!("{} has no evaluation", adapter.version.adapter_id))?;
    Ok(evidence::evaluation(store, artifact).await?)
}

async fn layers(
    store: &ArtifactStore,
    old: &AdapterDocument,
    new: &AdapterDocument,
) -> Result<Vec<LayerNorms>> {
    Ok(norms(&files(store, old).await?, &files(store, new).await?)?)
}

async fn files(store: &ArtifactStore, adapter: &AdapterDocument) -> Result<AdapterFiles> {
    let version = &adapter.version;
    let lineage = version.lineage.as_ref();
    let lineage =
        lineage.with_context(|| format!("{} was imported without its files", version.adapter_id))?;
    let config = store.read(&lineage.adapter, "adapter_config.json").await?.to_vec();
    let tensors = store.read(&lineage.adapter, "adapter_model.safetensors").await?.to_vec();
    Ok(AdapterFiles { config, tensors })
}

fn print(session: &Session, difference: &Difference) -> Result<()> {
    let output = session.output;
    let bounds = |bounds: Option<(f64, f64)>| {
        bounds.map(|(lower, upper)| format!(" ({lower:.1} to {upper:.1})")).unwrap_or_default()
    };
    let metrics = difference.metrics.iter().map(|change| {
        let decimals = figures::decimals(&change.metric);
        [
            change.metric.clone(),
            figures::number(change.old, decimals) + &bounds(change.old_bounds),
            figures::number(change.new, decimals) + &bounds(change.new_bounds),
            figures::number(change.delta, decimals),
            figures::percent(change.delta_percent.map(|percent| percent / 100.0)),
        ]
    });
    output.table(["metric", "old", "new", "delta", "delta %"], metrics.collect())?;
    if !difference.fields.is_empty() {
        output.line("")?;
        let fields = difference.fields.iter();
        let rows = fields.map(|change| [change.field.clone(), shown(&change.old), shown(&change.new)]);
        output.table(["field", "old", "new"], rows.collect())?;
    }
    print_samples(output, difference)?;
    print_layers(output, difference)
}

fn print_samples(output: Output, difference: &Difference) -> Result<()> {
    if let Some(samples) = &difference.samples {
        output.line(format!(
            "\n{} that both answered, the greatest loss first",
            counted(samples.len(), "sample")
        ))?;
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
        tell_cut(output, samples.len())?;
    }
    Ok(())
}

fn print_layers(output: Output, difference: &Difference) -> Result<()> {
    if let Some(layers) = &difference.layers {
        let mut sorted: Vec<&LayerNorms> = layers.iter().collect();
        sorted.sort_by(|a, b| b.difference.unwrap_or(f64::MAX).total_cmp(&a.difference.unwrap_or(f64::MAX)));
        output.line(format!(
            "\nnorm of the update of {}, the greatest difference first",
            counted(layers.len(), "layer")
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
        tell_cut(output, layers.len())?;
    }
    Ok(())
}

/// Ends a table that shows only the first of its rows.
fn tell_cut(output: Output, rows: usize) -> Result<()> {
    if let Some(cut) = cut(rows) {
        output.line(cut)?;
    }
    Ok(())
}

fn cut(rows: usize) -> Option<String> {
    let more = rows.checked_sub(SHOWN).filter(|more| *more > 0)?;
    Some(format!("… and {more} more; `-o json` has all"))
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
    fn a_table_that_is_cut_says_so() {
        assert_eq!(cut(SHOWN), None);
        assert_eq!(cut(36).as_deref(), Some("… and 21 more; `-o json` has all"));
    }
}
