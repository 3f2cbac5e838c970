//! Makes records of what servers hold: mapped fields get the names that the pipeline knows, all other texts become metadata.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clara_runtime::config::RemoteSettings;
use serde_json::{Map, Value};

use super::Fetched;

/// Names of `ingest.fields` as settings give them, and as records hold them by default.
const NAMES: [(&str, &str); 11] = [
    ("id", "id"),
    ("text", "text"),
    ("instruction", "instruction"),
    ("input", "input"),
    ("output", "output"),
    ("messages", "messages"),
    ("prompt", "prompt"),
    ("completion", "completion"),
    ("domain", "domain"),
    ("licence", "license"),
    ("classification", "classification"),
];

/// Metadata whose name would be taken for one of the mapped fields stands below this name.
const ASIDE: &str = "source";

/// Where a server keeps which field.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    paths: BTreeMap<&'static str, String>,
    given: Vec<&'static str>,
    metadata: Vec<String>,
}

impl Mapping {
    /// The mapping of the settings over the server's own names; `more` are names that only this kind of server knows.
    ///
    /// # Errors
    /// Which name is not known, and which are.
    pub(super) fn new(
        settings: &RemoteSettings,
        defaults: &[(&'static str, &str)],
        more: &[(&'static str, &str)],
    ) -> Result<Self, String> {
        let mut paths: BTreeMap<&'static str, String> =
            NAMES.iter().map(|(name, default)| (*name, (*default).to_owned())).collect();
        paths.extend(defaults.iter().chain(more).map(|(name, path)| (*name, (*path).to_owned())));
        let mut given = Vec::new();
        for (name, path) in &settings.fields {
            let Some((known, _)) = paths.get_key_value(name.as_str()) else {
                let known: Vec<&str> = paths.keys().copied().collect();
                return Err(format!(
                    "`fields` names `{name}`; expected {}; correct the name",
                    known.join(", ")
                ));
            };
            let known = *known;
            given.push(known);
            paths.insert(known, path.clone());
        }
        Ok(Self { paths, given, metadata: settings.metadata.clone() })
    }

    /// Where the field of this name is.
    pub(super) fn path(&self, name: &'static str) -> &str {
        self.paths.get(name).map_or(name, String::as_str)
    }

    /// Whether the settings say where the field of this name is.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.contains(&name)
    }

    /// All mapped paths.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.paths.iter().map(|(name, path)| (*name, path.as_str()))
    }

    /// The paths of metadata that the settings ask for; none asks for all.
    pub(super) fn metadata(&self) -> &[String] {
        &self.metadata
    }

    /// The record of a document.
    pub(super) fn record(&self, id: &str, object: &Map<String, Value>) -> Fetched {
        match self.try_record(id, object) {
            Ok(record) => Fetched::Record(record),
            Err(problem) => Fetched::Broken { id: id.to_owned(), problem },
        }
    }

    fn try_record(&self, id: &str, object: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        let mut record = self.all_metadata(object);
        record.insert("id".to_owned(), id.into());
        for (name, target) in NAMES.iter().filter(|(name, _)| *name != "id") {
            let path = self.path(name);
            let Some(value) = find(object, path) else { continue };
            let value =
                if *name == "messages" { messages(value, path)? } else { text_of(value, path)?.into() };
            record.insert((*target).to_owned(), value);
        }
        let has = |name: &str| record.contains_key(name);
        let is_complete = has("messages")
            || has("text")
            || (has("instruction") && has("output"))
            || (has("prompt") && has("completion"));
        if is_complete { Ok(record) } else { Err(self.no_text()) }
    }

    fn no_text(&self) -> String {
        format!(
            "it has no text in `{}`, and neither messages, instruction and output, nor prompt and completion; map the \
             field in `fields`, or leave such documents out by `filter`",
            self.path("text")
        )
    }

    fn all_metadata(&self, object: &Map<String, Value>) -> Map<String, Value> {
        let mut found = Map::new();
        let mut add = |name: String, text: String| {
            let is_taken = NAMES.iter().any(|(_, target)| *target == name);
            found.insert(if is_taken { format!("{ASIDE}.{name}") } else { name }, text.into());
        };
        if self.metadata.is_empty() {
            let mapped: Vec<&str> = self.paths.values().map(String::as_str).collect();
            flatten_object("", object, &mapped, &mut add);
        }
        for path in &self.metadata {
            match find(object, path) {
                Some(Value::Object(inner)) => flatten_object(&format!("{path}."), inner, &[], &mut add),
                Some(value) => add(path.clone(), scalar(value)),
                None => {}
            }
        }
        found
    }
}

/// The value at a path, whose dots lead into objects; a name that holds dots itself comes first. `null` counts as missing.
pub(super) fn find<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(path) {
        return Some(value).filter(|value| !value.is_null());
    }
    let (head, rest) = path.split_once('.')?;
    find(object.get(head)?.as_object()?, rest)
}

/// A text, or a number or truth value as text.
pub(super) fn text_of(value: &Value, path: &str) -> Result<String, String> {
    match value {
        Value::Array(_) | Value::Object(_) => Err(format!("`{path}` is {}, expected a text", kind(value))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(scalar(value)),
    }
}

/// What kind of value it is, for people.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A conversation, also as JSON within a text column.
fn messages(value: &Value, path: &str) -> Result<Value, String> {
    let parsed = match value {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    };
    if parsed.is_array() {
        return Ok(parsed);
    }
    Err(format!("`{path}` is {}, expected a list of messages", kind(value)))
}

fn flatten_object(
    prefix: &str,
    object: &Map<String, Value>,
    mapped: &[&str],
    add: &mut impl FnMut(String, String),
) {
    for (name, value) in object {
        let path = format!("{prefix}{name}");
        if mapped.contains(&path.as_str()) {
            continue;
        }
        match value {
            Value::Null => {}
            Value::Object(inner) => flatten_object(&format!("{path}."), inner, mapped, add),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                add(path, scalar(value));
            }
        }
    }
}

/// A value as one text; a list of plain values with commas, what is deeper as JSON.
fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if !items.iter().any(|item| item.is_array() || item.is_object()) => {
            items.iter().map(scalar).collect::<Vec<_>>().join(", ")
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
