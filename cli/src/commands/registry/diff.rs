//! In what two versions differ.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::super::DONE;
use crate::{client::AdapterDocument, figures, session::Session};

/// What two versions do not share.
#[derive(Debug, Serialize)]
struct Difference {
    from: String,
    to: String,
    metrics: Vec<MetricChange>,
    fields: Vec<FieldChange>,
}

#[derive(Debug, PartialEq, Serialize)]
struct MetricChange {
    metric: String,
    old: Option<f64>,
    new: Option<f64>,
    delta: Option<f64>,
    delta_percent: Option<f64>,
}

#[derive(Debug, PartialEq, Serialize)]
struct FieldChange {
    field: String,
    old: Value,
    new: Value,
}

pub(super) async fn run(session: &Session, from: &str, to: &str) -> Result<u8> {
    let connection = session.connect().await?;
    let old = connection.client.adapter(from).await?;
    let new = connection.client.adapter(to).await?;
    let difference = compare(&old, &new)?;
    if session.output.is_json() {
        session.output.json(&difference)?;
        return Ok(DONE);
    }
    let metrics = difference.metrics.iter().map(|change| {
        let delta_percent = change.delta_percent.map(|percent| percent / 100.0);
        [
            change.metric.clone(),
            figures::number(change.old, 3),
            figures::number(change.new, 3),
            figures::number(change.delta, 3),
            figures::percent(delta_percent),
        ]
    });
    session.output.table(["metric", "old", "new", "delta", "delta %"], metrics.collect())?;
    session.output.line("")?;
    let rows =
        difference.fields.iter().map(|change| [change.field.clone(), shown(&change.old), shown(&change.new)]);
    session.output.table(["field", "old", "new"], rows.collect())?;
    Ok(DONE)
}

fn compare(old: &AdapterDocument, new: &AdapterDocument) -> Result<Difference> {
    let names: BTreeSet<_> = old.version.metrics.keys().chain(new.version.metrics.keys()).collect();
    let metrics = names
        .into_iter()
        .map(|name| change_of(name, old.version.metrics.get(name), new.version.metrics.get(name)))
        .collect();
    let mut fields = Vec::new();
    push_changes("", &content(old)?, &content(new)?, &mut fields);
    Ok(Difference {
        from: old.version.adapter_id.clone(),
        to: new.version.adapter_id.clone(),
        metrics,
        fields,
    })
}

/// The document without its metrics, which have a table of their own.
fn content(adapter: &AdapterDocument) -> Result<Value> {
    let mut content = serde_json::to_value(adapter)?;
    if let Some(content) = content.as_object_mut() {
        content.remove("metrics");
    }
    Ok(content)
}

fn change_of(name: &str, old: Option<&f64>, new: Option<&f64>) -> MetricChange {
    let delta = old.zip(new).map(|(old, new)| new - old);
    let delta_percent =
        old.zip(delta).filter(|(old, _)| old.abs() > 0.0).map(|(old, delta)| delta / old.abs() * 100.0);
    MetricChange { metric: name.to_owned(), old: old.copied(), new: new.copied(), delta, delta_percent }
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
