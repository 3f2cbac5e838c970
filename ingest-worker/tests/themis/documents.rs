//! Real documents to fill servers with: those of the file that `CLARA_DOCUMENTS` names, else those of the example.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// `id`, `text` and `domain` of all documents of a JSONL file, in the order of their ids. Headings and questions become part
/// of the text, since servers search one field alone.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn documents() -> Result<Vec<Value>> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/verwaltungsrecht/training.jsonl");
    let path = std::env::var_os("CLARA_DOCUMENTS").map_or(example, Into::into);
    let file = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut documents = Vec::new();
    for line in file.lines().filter(|line| !line.trim().is_empty()) {
        let record: Value = serde_json::from_str(line)?;
        let texts: Vec<&str> = ["heading", "instruction", "text", "output"]
            .iter()
            .filter_map(|field| record[*field].as_str().filter(|text| !text.trim().is_empty()))
            .collect();
        let domain = record["domain"].as_str().unwrap_or("verwaltungsrecht");
        documents.push(json!({ "id": record["id"], "text": texts.join("\n"), "domain": domain }));
    }
    documents.sort_by(|left, right| left["id"].as_str().cmp(&right["id"].as_str()));
    Ok(documents)
}

/// Documents as the lines of a file.
pub(crate) fn lines(documents: &[Value]) -> String {
    let lines: Vec<String> = documents.iter().map(Value::to_string).collect();
    lines.join("\n") + "\n"
}
