//! Turns a document of ThemisDB into a record of the pipeline, by the names that the settings give.

use std::collections::BTreeMap;

use clara_lifecycle::spec::FieldNames;
use clara_runtime::config::RemoteSettings;
use serde_json::{Map, Value};

/// How the problem of a document without any text begins.
pub(super) const NO_TEXT: &str = "it has no text";
/// Where the text of a document lies when the settings do not say.
const TEXTS: [&str; 2] = ["content", "text"];
/// So many fields of a document without text are named.
const NAMED_FIELDS: usize = 12;

/// Which field of a document becomes which of a record.
#[derive(Debug)]
pub(super) struct Mapping {
    text: Option<String>,
    id: Option<String>,
    /// Name in the record and field of the document.
    contents: Vec<(String, String)>,
    labels: Vec<(String, String)>,
    /// Fields that become metadata; empty for all texts.
    metadata: Vec<String>,
}

impl Mapping {
    /// The mapping of the settings.
    ///
    /// # Errors
    /// A name that no record has.
    pub(super) fn new(settings: &RemoteSettings) -> Result<Self, String> {
        let FieldNames {
            text,
            instruction,
            input,
            output,
            messages,
            prompt,
            completion,
            id,
            domain,
            licence,
            classification,
        } = FieldNames::default();
        let mut given: BTreeMap<String, String> = settings.fields.clone();
        // Settings say `licence`, records `license`.
        if let Some(field) = given.remove("licence") {
            given.insert(licence.clone(), field);
        }
        let mut pairs = |names: Vec<String>| {
            let pair = |name: String| {
                let field = given.remove(&name).unwrap_or_else(|| name.clone());
                (name, field)
            };
            names.into_iter().map(pair).collect::<Vec<_>>()
        };
        let contents = pairs(vec![instruction, input, output, messages, prompt, completion]);
        let labels = pairs(vec![domain, licence, classification]);
        let mapping = Self {
            text: given.remove(&text),
            id: given.remove(&id),
            contents,
            labels,
            metadata: settings.metadata.clone(),
        };
        match given.into_keys().next() {
            Some(unknown) => Err(format!("no record has a field `{unknown}`; correct the name")),
            None => Ok(mapping),
        }
    }

    /// The column that full-text search looks into.
    pub(super) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or(TEXTS[0])
    }

    /// The field of the id, if the settings name one.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The record of the document with this key.
    ///
    /// # Errors
    /// What is wrong, without its content.
    pub(super) fn record(
        &self,
        key: &str,
        document: &Map<String, Value>,
    ) -> Result<Map<String, Value>, String> {
        let id = self.id.as_ref().and_then(|field| label(lookup(document, field)?));
        let mut record =
            Map::from_iter([("id".to_owned(), Value::from(id.unwrap_or_else(|| key.to_owned())))]);
        let texts = self.text.as_deref().map_or(TEXTS.to_vec(), |field| vec![field]);
        let text = texts.into_iter().find_map(|field| Some((field.to_owned(), lookup(document, field)?)));
        let mut used: Vec<String> = self.id.iter().cloned().collect();
        if let Some((field, text)) = text {
            record.insert("text".to_owned(), text.clone());
            used.push(field);
        }
        self.complete(record, used, document)
    }

    /// The record of an exported one, whose contents have the names of the pipeline already.
    ///
    /// # Errors
    /// As [`Mapping::record`].
    pub(super) fn exported(
        &self,
        id: &str,
        document: &Map<String, Value>,
    ) -> Result<Map<String, Value>, String> {
        let mut record = Map::from_iter([("id".to_owned(), Value::from(id))]);
        let mut used = vec!["id".to_owned()];
        for name in ["text", "instruction", "input", "output", "messages"] {
            if let Some(value) = lookup(document, name) {
                record.insert(name.to_owned(), value.clone());
            }
            used.push(name.to_owned());
        }
        self.complete(record, used, document)
    }

    /// Adds contents, labels and metadata.
    fn complete(
        &self,
        mut record: Map<String, Value>,
        mut used: Vec<String>,
        document: &Map<String, Value>,
    ) -> Result<Map<String, Value>, String> {
        for (name, field) in &self.contents {
            if let Some(value) = lookup(document, field) {
                record.entry(name.clone()).or_insert_with(|| value.clone());
                used.push(field.clone());
            }
        }
        if record.len() < 2 {
            let fields: Vec<String> =
                document.keys().take(NAMED_FIELDS).map(|field| format!("`{field}`")).collect();
            let fields = if fields.is_empty() { "none".to_owned() } else { fields.join(", ") };
            return Err(format!("{NO_TEXT} in `{}`; its fields are {fields}", self.text()));
        }
        for (name, field) in &self.labels {
            if let Some(value) = lookup(document, field).and_then(label) {
                record.entry(name.clone()).or_insert(Value::String(value));
                used.push(field.clone());
            }
        }
        if self.metadata.is_empty() {
            texts(&mut record, "", document, &used);
        } else {
            for field in &self.metadata {
                if let Some(value) = lookup(document, field).and_then(label) {
                    record.entry(field.clone()).or_insert(Value::String(value));
                }
            }
        }
        Ok(record)
    }
}

/// A field, dots lead into objects; `null` counts as missing.
pub(super) fn lookup<'a>(document: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    let found = document.get(field).or_else(|| {
        let (outer, inner) = field.split_once('.')?;
        lookup(document.get(outer)?.as_object()?, inner)
    });
    found.filter(|value| !value.is_null())
}

/// A text, number or list of them as one text.
fn label(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Array(values) => Some(values.iter().map(label).collect::<Option<Vec<_>>>()?.join(", ")),
        Value::Null | Value::Object(_) => None,
    }
}

/// All texts of the document that are not used otherwise, those within objects as `object.field`.
fn texts(record: &mut Map<String, Value>, prefix: &str, document: &Map<String, Value>, used: &[String]) {
    for (name, value) in document {
        let field = format!("{prefix}{name}");
        if used.contains(&field) {
            continue;
        }
        match value {
            Value::String(text) => {
                record.entry(field).or_insert_with(|| Value::from(text.as_str()));
            }
            Value::Object(inner) => texts(record, &format!("{field}."), inner, used),
            _ => {}
        }
    }
}
