//! Reads training records from JSON lines in the usual shapes.

use std::path::{Path, PathBuf};

use clara_lifecycle::dataset::{ChatMessage, TrainingContent, TrainingRecord};
use serde_json::{Map, Value};

/// Why a file of records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("cannot read training data {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// A line that is not a record.
    #[error("{origin}:{line}: {reason}; correct or remove the line")]
    Line {
        /// The file.
        origin: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// The records of a JSON lines file; blank lines are skipped.
///
/// A record is one of `{text}`, `{messages}`, `{prompt, completion}` and `{instruction, input?, output}`, the last of which
/// becomes a conversation. `document_id` or `id` names its document; without them the line does.
///
/// # Errors
/// [`ReadError`] names the first line that is not a record.
pub fn read_records(path: &Path) -> Result<Vec<TrainingRecord>, ReadError> {
    let text = std::fs::read_to_string(path).map_err(|source| ReadError::Io { path: path.into(), source })?;
    parse_records(&text, &path.display().to_string())
}

/// The records of JSON lines; `origin` names them in errors.
///
/// # Errors
/// [`ReadError::Line`] names the first line that is not a record.
pub fn parse_records(text: &str, origin: &str) -> Result<Vec<TrainingRecord>, ReadError> {
    let mut records = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let broken = |reason| ReadError::Line { origin: origin.to_owned(), line: index + 1, reason };
        let value: Value =
            serde_json::from_str(line).map_err(|error| broken(format!("not JSON: {error}")))?;
        let Value::Object(fields) = value else {
            return Err(broken("expected an object".into()));
        };
        let document_id = match fields.get("document_id").or_else(|| fields.get("id")) {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => format!("line-{}", index + 1),
        };
        records.push(TrainingRecord { document_id, content: content(&fields).map_err(broken)? });
    }
    Ok(records)
}

fn content(fields: &Map<String, Value>) -> Result<TrainingContent, String> {
    if let Some(messages) = fields.get("messages") {
        let messages: Vec<ChatMessage> = serde_json::from_value(messages.clone())
            .map_err(|error| format!("`messages` is not a list of {{role, content}}: {error}"))?;
        return Ok(TrainingContent::Chat { messages });
    }
    if fields.contains_key("prompt") {
        let (prompt, completion) = (text(fields, "prompt")?, text(fields, "completion")?);
        return Ok(TrainingContent::PromptCompletion { prompt, completion });
    }
    if fields.contains_key("instruction") {
        let mut question = text(fields, "instruction")?;
        if let Some(input) =
            fields.get("input").and_then(Value::as_str).filter(|input| !input.trim().is_empty())
        {
            question = format!("{question}\n\n{input}");
        }
        let message = |role: &str, content| ChatMessage { role: role.to_owned(), content };
        let answer = text(fields, "output")?;
        return Ok(TrainingContent::Chat {
            messages: vec![message("user", question), message("assistant", answer)],
        });
    }
    if fields.contains_key("text") {
        return Ok(TrainingContent::Text { text: text(fields, "text")? });
    }
    let found: Vec<&str> = fields.keys().map(String::as_str).collect();
    Err(format!(
        "no known fields among `{}`; expected text, messages, prompt and completion, or instruction and output",
        found.join("`, `")
    ))
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    match fields.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("`{name}` is {other}; expected a text")),
        None => Err(format!("`{name}` is missing")),
    }
}
