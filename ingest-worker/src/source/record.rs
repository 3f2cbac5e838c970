//! Understands one JSON line as a document, whichever of the known shapes it has.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clara_lifecycle::{
    dataset::{ChatMessage, TrainingContent},
    spec::FieldNames,
};
use serde_json::{Map, Value};

use super::{Document, Origin};

/// What a line holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) licence: Option<String>,
    pub(super) classification: Option<String>,
    pub(super) content: TrainingContent,
    pub(super) metadata: BTreeMap<String, String>,
}

/// The document of a line. The richest shape wins: messages, instruction and output, prompt and completion, text.
///
/// # Errors
/// What is wrong with the line, without its content.
pub(super) fn parse(line: &str, fields: &FieldNames) -> Result<Record, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| not_json(&error))?;
    let Value::Object(object) = value else {
        return Err(format!("expected a JSON object, found {}", kind(&value)));
    };
    from_object(&object, fields)
}

/// The document of an object, as [`parse`] finds it.
///
/// # Errors
/// What is wrong with the object, without its content.
pub(super) fn from_object(object: &Map<String, Value>, fields: &FieldNames) -> Result<Record, String> {
    let line = Line { object, fields };
    let (content, used) = line.content()?;
    Ok(Record {
        id: line.id()?,
        domain: line.text(&fields.domain)?.map(str::to_owned),
        licence: line.label(&fields.licence),
        classification: line.label(&fields.classification),
        content,
        metadata: line.metadata(&used),
    })
}

/// Refuses columns that lack each of the known shapes, whatever the rows hold.
///
/// # Errors
/// The columns that were expected and found.
pub(super) fn check_columns<'a>(
    columns: impl Iterator<Item = &'a str>,
    fields: &FieldNames,
) -> Result<(), String> {
    let columns: Vec<&str> = columns.collect();
    let has = |name: &String| columns.contains(&name.as_str());
    let FieldNames { text, instruction, output, messages, prompt, completion, .. } = fields;
    let is_known =
        has(messages) || has(text) || (has(instruction) && has(output)) || (has(prompt) && has(completion));
    if is_known { Ok(()) } else { Err(unknown_shape(columns.into_iter(), fields)) }
}

impl Record {
    /// The document that was read at `origin` in the file `file_name`, which names it where it has no id.
    pub(super) fn document(self, origin: Origin, file_name: &str) -> Document {
        Document {
            id: self.id.unwrap_or_else(|| match origin.line {
                Some(line) => format!("{file_name}:{line}"),
                None => file_name.to_owned(),
            }),
            origin,
            domain: self.domain,
            licence: self.licence,
            classification: self.classification,
            content: self.content,
            metadata: self.metadata,
        }
    }
}

/// Only the place and class of a JSON error; its message may quote the line.
fn not_json(error: &serde_json::Error) -> String {
    let class = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Data => "a syntax error",
        serde_json::error::Category::Io => "it cannot be read",
    };
    format!("not valid JSON: {class} at column {}", error.column())
}

struct Line<'a> {
    object: &'a Map<String, Value>,
    fields: &'a FieldNames,
}

/// Content and the names of the fields that it was made from.
type Content<'a> = (TrainingContent, Vec<&'a str>);

impl<'a> Line<'a> {
    fn content(&self) -> Result<Content<'a>, String> {
        let fields = self.fields;
        if let Some(messages) = self.present(&fields.messages) {
            return Ok((chat(&fields.messages, messages)?, vec![&fields.messages]));
        }
        if let (Some(instruction), Some(output)) =
            (self.text(&fields.instruction)?, self.text(&fields.output)?)
        {
            let input = self.text(&fields.input)?.unwrap_or_default();
            learned(&fields.output, output)?;
            return Ok((
                exchange(instruction, input, output),
                vec![&fields.instruction, &fields.input, &fields.output],
            ));
        }
        if let (Some(prompt), Some(completion)) = (self.text(&fields.prompt)?, self.text(&fields.completion)?)
        {
            learned(&fields.completion, completion)?;
            let content = TrainingContent::PromptCompletion {
                prompt: prompt.to_owned(),
                completion: completion.to_owned(),
            };
            return Ok((content, vec![&fields.prompt, &fields.completion]));
        }
        if let Some(text) = self.text(&fields.text)? {
            return Ok((TrainingContent::Text { text: text.to_owned() }, vec![&fields.text]));
        }
        Err(unknown_shape(self.object.keys().map(String::as_str), fields))
    }

    /// A field with a value; `null` counts as missing.
    fn present(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("field `{name}` is {}, expected a text", kind(other))),
        }
    }

    fn id(&self) -> Result<Option<String>, String> {
        let name = &self.fields.id;
        match self.present(name) {
            None => Ok(None),
            Some(Value::String(id)) if id.trim().is_empty() => Ok(None),
            Some(Value::String(id)) => Ok(Some(id.clone())),
            Some(Value::Number(id)) => Ok(Some(id.to_string())),
            Some(other) => Err(format!("field `{name}` is {}, expected a text or a number", kind(other))),
        }
    }

    /// A word about the document: a text or a number, or a list of them; other values say nothing that could be compared.
    fn label(&self, name: &str) -> Option<String> {
        let word = |value: &Value| match value {
            Value::String(text) if text.trim().is_empty() => None,
            Value::String(text) => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        match self.present(name)? {
            Value::Array(values) => {
                let words: Vec<String> = values.iter().filter_map(word).collect();
                (!words.is_empty()).then(|| words.join(", "))
            }
            value => word(value),
        }
    }

    /// All other texts; those within an object appear as `object.field`.
    fn metadata(&self, used: &[&str]) -> BTreeMap<String, String> {
        let FieldNames { id, domain, licence, classification, .. } = self.fields;
        let own = [id, domain, licence, classification];
        let mut metadata = BTreeMap::new();
        for (name, value) in self.object {
            let is_other = !used.contains(&name.as_str()) && !own.contains(&name);
            match value {
                Value::String(text) if is_other => {
                    metadata.insert(name.clone(), text.clone());
                }
                Value::Object(inner) if is_other => {
                    let texts = inner.iter().filter_map(|(field, value)| Some((field, value.as_str()?)));
                    metadata.extend(texts.map(|(field, text)| (format!("{name}.{field}"), text.to_owned())));
                }
                _ => {}
            }
        }
        metadata
    }
}

fn unknown_shape<'a>(found: impl Iterator<Item = &'a str>, fields: &FieldNames) -> String {
    let FieldNames { text, instruction, output, messages, prompt, completion, .. } = fields;
    let found: Vec<String> = found.take(20).map(|name| format!("`{name}`")).collect();
    let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    format!(
        "expected the fields `{messages}`, `{instruction}` and `{output}`, `{prompt}` and `{completion}`, or \
         `{text}`; found {found}"
    )
}

fn exchange(instruction: &str, input: &str, output: &str) -> TrainingContent {
    let question =
        if input.trim().is_empty() { instruction.to_owned() } else { format!("{instruction}\n\n{input}") };
    TrainingContent::Chat { messages: vec![message("user", &question), message("assistant", output)] }
}

fn chat(name: &str, value: &Value) -> Result<TrainingContent, String> {
    let turns = match value {
        Value::Array(turns) => turns,
        // Tables of text alone, such as CSV, hold the list as JSON.
        Value::String(text) => {
            let turns = serde_json::from_str(text).map_err(|error| {
                format!("field `{name}` is a text, expected a list of messages: {}", not_json(&error))
            })?;
            &turns_of(turns, name)?
        }
        other => return Err(not_a_list(name, other)),
    };
    let mut messages = Vec::with_capacity(turns.len());
    for (number, turn) in (1..).zip(turns) {
        let role = turn_text(name, number, turn, "role")?;
        if !matches!(role, "system" | "user" | "assistant") {
            return Err(format!(
                "message {number} of `{name}` has an unknown role; expected system, user or assistant"
            ));
        }
        let content = turn_text(name, number, turn, "content")?;
        if role == "assistant" {
            learned(&format!("{name}[{number}].content"), content)?;
        }
        messages.push(message(role, content));
    }
    if !messages.iter().any(|message| message.role == "assistant") {
        return Err(format!("field `{name}` has no turn of the assistant, so that nothing would be learned"));
    }
    Ok(TrainingContent::Chat { messages })
}

fn turns_of(value: Value, name: &str) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(turns) => Ok(turns),
        other => Err(not_a_list(name, &other)),
    }
}

fn not_a_list(name: &str, found: &Value) -> String {
    format!("field `{name}` is {}, expected a list of messages", kind(found))
}

fn turn_text<'a>(name: &str, number: u64, turn: &'a Value, field: &str) -> Result<&'a str, String> {
    turn.get(field)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("message {number} of `{name}` has no text in `{field}`"))
}

fn message(role: &str, content: &str) -> ChatMessage {
    ChatMessage { role: role.to_owned(), content: content.to_owned() }
}

/// Refuses an empty text where something should be learned.
fn learned(name: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("field `{name}` is empty, so that nothing would be learned"));
    }
    Ok(())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
