//! What changed from one golden dataset to another: samples added, removed, and changed field by field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{GoldenDataset, GoldenSample};
use crate::digest::Digest;

/// Fields that differ without any effect on an evaluation.
const WITHOUT_EFFECT: [&str; 1] = ["created_at"];

/// What changed from one golden dataset to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenDiff {
    /// The one before, as `id@version`.
    pub from: String,
    /// The one after.
    pub to: String,
    /// Digest of the one before.
    pub from_digest: Digest,
    /// Digest of the one after.
    pub to_digest: Digest,
    /// Fields of the dataset itself.
    pub fields: Vec<FieldChange>,
    /// Ids of samples that only the one after has, in its order.
    pub added: Vec<String>,
    /// Ids of samples that only the one before has, in its order.
    pub removed: Vec<String>,
    /// Samples of both that differ, in the order of the one after.
    pub changed: Vec<SampleChange>,
    /// Whether the samples of both stand in another order.
    pub reordered: bool,
}

/// One sample that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleChange {
    /// The sample.
    pub sample_id: String,
    /// Its fields that differ.
    pub fields: Vec<FieldChange>,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Its name; fields within an object as `checks.must_cite`.
    pub field: String,
    /// Its value before; `null` when it had none.
    pub old: Value,
    /// Its value after; `null` when it has none.
    pub new: Value,
}

impl GoldenDiff {
    /// Whether both would examine alike: nothing differs but what an evaluation never sees.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
            && self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
            && !self.reordered
    }
}

impl GoldenDataset {
    /// What changed from this dataset to `after`. Samples are the same when their ids are.
    ///
    /// # Errors
    /// When a dataset cannot be written as JSON, which takes a number that JSON has not.
    pub fn diff(&self, after: &Self) -> Result<GoldenDiff, serde_json::Error> {
        let mut changed = Vec::new();
        let mut common = Vec::new();
        for sample in &after.samples {
            let Some(before) = self.sample(&sample.sample_id) else { continue };
            common.push(sample.sample_id.as_str());
            let fields = changes(&fields_of(before)?, &fields_of(sample)?);
            if !fields.is_empty() {
                changed.push(SampleChange { sample_id: sample.sample_id.clone(), fields });
            }
        }
        let order = self.samples.iter().map(|sample| sample.sample_id.as_str());
        let order = order.filter(|id| after.sample(id).is_some());
        Ok(GoldenDiff {
            from: self.reference().to_string(),
            to: after.reference().to_string(),
            from_digest: self.digest(),
            to_digest: after.digest(),
            fields: changes(&self.own_fields(), &after.own_fields()),
            added: missing(after, self),
            removed: missing(self, after),
            changed,
            reordered: !order.eq(common.iter().copied()),
        })
    }

    fn own_fields(&self) -> BTreeMap<String, Value> {
        let texts = [
            ("dataset_id", self.dataset_id.to_string()),
            ("version", self.version.to_string()),
            ("domain", self.domain.to_string()),
            ("description", self.description.clone()),
        ];
        let mut fields: BTreeMap<_, _> =
            texts.into_iter().map(|(name, text)| (name.to_owned(), Value::from(text))).collect();
        fields.insert("tags".to_owned(), self.tags.clone().into());
        fields
    }
}

/// Ids of the samples of `of` that `other` has not.
fn missing(of: &GoldenDataset, other: &GoldenDataset) -> Vec<String> {
    let ids = of.samples.iter().map(|sample| &sample.sample_id);
    ids.filter(|id| other.sample(id).is_none()).cloned().collect()
}

fn fields_of(sample: &GoldenSample) -> Result<BTreeMap<String, Value>, serde_json::Error> {
    let mut fields = BTreeMap::new();
    let Value::Object(object) = serde_json::to_value(sample)? else { return Ok(fields) };
    for (name, value) in object.into_iter().filter(|(name, _)| !WITHOUT_EFFECT.contains(&name.as_str())) {
        if let Value::Object(inner) = value {
            fields.extend(inner.into_iter().map(|(field, value)| (format!("{name}.{field}"), value)));
        } else {
            fields.insert(name, value);
        }
    }
    Ok(fields)
}

fn changes(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<FieldChange> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let value = |of: &BTreeMap<String, Value>, name: &str| of.get(name).cloned().unwrap_or_default();
    names
        .into_iter()
        .filter(|name| value(before, name) != value(after, name))
        .map(|name| FieldChange { field: name.clone(), old: value(before, name), new: value(after, name) })
        .collect()
}
