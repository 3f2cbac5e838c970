//! The card of a dataset: `card.md` with its drawings, for people who decide whether it is worth training on.

mod bars;
mod seen;
#[cfg(test)]
mod tests;

use std::{fmt::Write as _, path::Path};

use clara_lifecycle::{
    counted::counted,
    dataset::{DatasetManifest, TrainingContent, TrainingRecord},
    markdown::{cell, code},
    spec::IngestOptions,
};

use crate::error::IngestError;

pub use bars::bars;
pub(crate) use seen::SeenRecords;
pub use seen::{Lengths, lot};

/// The card.
pub const CARD: &str = "card.md";
/// The drawing of the records' lengths.
pub const LENGTHS: &str = "lengths.svg";
/// The drawing of the drop reasons.
pub const DROPPED: &str = "dropped.svg";
/// Longest text of a sample in characters.
const SAMPLE_CHARS: usize = 700;

/// Writes the card and its drawings into `folder`.
pub(crate) fn write(
    folder: &Path,
    manifest: &DatasetManifest,
    seen: &SeenRecords,
) -> Result<(), IngestError> {
    let files = [
        (CARD, markdown(manifest, seen)),
        (LENGTHS, lengths_svg(&seen.lengths)),
        (DROPPED, dropped_svg(manifest)),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(IngestError::write(&path))?;
    }
    Ok(())
}

/// The lengths of records as a drawing.
pub fn lengths_svg(lengths: &Lengths) -> String {
    bars("Records by their length in characters", &lengths.rows())
}

/// The documents of a dataset by what became of them, as a drawing.
pub fn dropped_svg(manifest: &DatasetManifest) -> String {
    let mut rows = vec![("kept".to_owned(), manifest.documents_kept)];
    rows.extend(manifest.dropped.iter().map(|(reason, count)| (reason.as_str().replace('_', " "), *count)));
    bars("Documents by what became of them", &rows)
}

fn markdown(manifest: &DatasetManifest, seen: &SeenRecords) -> String {
    let mut card = format!("# Dataset for {}\n\n", cell(&manifest.domain));
    card.push_str(&counts(manifest, seen));
    card.push_str(&sources(manifest));
    card.push_str(&dropped(manifest));
    card.push_str(&golden(manifest));
    if let Some(options) = &manifest.options {
        card.push_str(&asked(options));
    }
    card.push_str(&samples(seen));
    card.truncate(card.trim_end().len());
    card.push('\n');
    card
}

fn counts(manifest: &DatasetManifest, seen: &SeenRecords) -> String {
    let DatasetManifest { documents_read, documents_kept, validation_documents, .. } = manifest;
    let mut rows = vec![
        ("documents read", documents_read.to_string()),
        (
            "documents kept",
            format!("{documents_kept}, {validation_documents} of them held out for validation"),
        ),
        ("records to train on", manifest.train_records.to_string()),
        ("records for validation", manifest.validation_records.to_string()),
        ("what records are", seen.kinds()),
        ("characters", format!("{} in all; {}", seen.lengths.chars(), seen.lengths.summary())),
        ("query", manifest.query.as_deref().map_or_else(|| "none, all documents".to_owned(), code)),
    ];
    rows.extend(manifest.key.iter().map(|key| ("key", code(key.as_str()))));
    let rows = rows.into_iter().map(|(name, value)| [name.to_owned(), value]);
    format!("{}\n![lengths of records]({LENGTHS})\n\n", table(["", ""], rows))
}

fn sources(manifest: &DatasetManifest) -> String {
    const MOST_FILES: usize = 50;
    let mut section = "## Sources\n\n".to_owned();
    for source in &manifest.sources {
        let _ = writeln!(section, "- {}", code(source));
    }
    let files = &manifest.source_files;
    let rows = files.iter().take(MOST_FILES);
    let rows =
        rows.map(|file| [code(&file.name), format!("{} bytes, `{}`", file.size_bytes, file.digest.short())]);
    let _ = write!(section, "\n{}", table(["file", "size and digest"], rows));
    if files.len() > MOST_FILES {
        let _ = writeln!(section, "\n… and {} more, see `manifest.json`.", files.len() - MOST_FILES);
    }
    if !manifest.skipped_files.is_empty() {
        let _ = writeln!(
            section,
            "\nNot read: {} of other kinds.",
            counted(manifest.skipped_files.len(), "file")
        );
    }
    section.push('\n');
    section
}

fn dropped(manifest: &DatasetManifest) -> String {
    if manifest.dropped.is_empty() {
        return "## Left out\n\nNothing.\n\n".to_owned();
    }
    let rows = manifest.dropped.iter().map(|(reason, count)| [code(reason.as_str()), count.to_string()]);
    format!(
        "## Left out\n\n{}\n![what became of documents]({DROPPED})\n\nEach document that was left out is named with \
         its reason beside this card.\n\n",
        table(["reason", "documents"], rows)
    )
}

fn golden(manifest: &DatasetManifest) -> String {
    let said = match &manifest.golden_overlap {
        None => "**No golden dataset was given: nothing was compared.** Samples that judge an adapter may be in it."
            .to_owned(),
        Some(overlap) => format!(
            "Compared with golden dataset {} (`{}`): left out {} that would give its samples away.",
            code(&overlap.golden_dataset),
            overlap.golden_digest.short(),
            counted(overlap.removed.len(), "document")
        ),
    };
    format!("## Golden dataset\n\n{said}\n\n")
}

/// The options that differ from their defaults.
fn asked(options: &IngestOptions) -> String {
    let differing = changed(options, &IngestOptions::default());
    if differing.is_empty() {
        return "## Options\n\nThe defaults.\n\n".to_owned();
    }
    let rows = differing.into_iter().map(|(name, value)| [code(&name), code(&value)]);
    format!("## Options\n\nOthers than the defaults:\n\n{}\n", table(["option", "value"], rows))
}

/// The options of `chosen` that have another value in `others`, by their names in a specification, sources aside.
pub fn changed(chosen: &IngestOptions, others: &IngestOptions) -> Vec<(String, String)> {
    let flat = |options: &IngestOptions| {
        let mut flat = Vec::new();
        // Options that were read can be written.
        flatten("ingest", &serde_json::to_value(options).unwrap_or_default(), &mut flat);
        flat
    };
    let others = flat(others);
    let mut differing = flat(chosen);
    differing.retain(|option| option.0 != "ingest.sources" && !others.contains(option));
    differing
}

fn flatten(name: &str, value: &serde_json::Value, into: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(fields) if !fields.is_empty() => {
            for (field, value) in fields {
                flatten(&format!("{name}.{field}"), value, into);
            }
        }
        value => into.push((name.to_owned(), value.to_string())),
    }
}

fn samples(seen: &SeenRecords) -> String {
    let mut section =
        "## Samples\n\nDrawn by chance, the same ones each time; not those that look best.\n\n".to_owned();
    for record in seen.samples() {
        let _ = writeln!(section, "### {}\n", code(&record.document_id));
        for (role, text) in spoken(record) {
            let _ = writeln!(section, "{role}:\n\n{}\n", fenced(text));
        }
    }
    section
}

/// The texts of a record with what they are.
pub fn spoken(record: &TrainingRecord) -> Vec<(&str, &str)> {
    match &record.content {
        TrainingContent::Chat { messages } => {
            messages.iter().map(|message| (message.role.as_str(), message.content.as_str())).collect()
        }
        TrainingContent::PromptCompletion { prompt, completion } => {
            vec![("prompt", prompt), ("completion", completion)]
        }
        TrainingContent::Text { text } => vec![("text", text)],
    }
}

/// Text within a fence that it cannot close, shortened when it is long.
fn fenced(text: &str) -> String {
    let mut shown: String = text.trim().chars().take(SAMPLE_CHARS).collect();
    if text.trim().chars().count() > SAMPLE_CHARS {
        shown.push_str(" …");
    }
    let shown = shown.replace("~~~", "~ ~ ~");
    format!("~~~text\n{shown}\n~~~")
}

fn table(header: [&str; 2], rows: impl IntoIterator<Item = [String; 2]>) -> String {
    let mut table = format!("| {} |\n|---|---|\n", header.join(" | "));
    for row in rows {
        let _ = writeln!(table, "| {} |", row.join(" | "));
    }
    table
}
