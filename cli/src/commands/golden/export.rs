//! Golden datasets as json, jsonl and csv.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use clara_lifecycle::golden::GoldenDataset;

use crate::{client::Client, session::Session};

/// A dataset to write.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArgs {
    /// ID (the draft, or else the newest version) or ID@VERSION
    reference: String,
    /// The format
    #[arg(long, value_enum, default_value_t = GoldenFormat::Json)]
    format: GoldenFormat,
    /// The file [default: standard output]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// How a golden dataset is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GoldenFormat {
    /// One object with the samples inline; can be imported
    Json,
    /// One sample per line
    Jsonl,
    /// `sample_id`, `prompt`, `expected_output`, domain and difficulty
    Csv,
}

pub(super) async fn run(session: &Session, client: &Client, args: &ExportArgs) -> Result<()> {
    let dataset = client.golden(&args.reference).await?.dataset;
    let text = match args.format {
        GoldenFormat::Json => format!("{}\n", serde_json::to_string_pretty(&dataset)?),
        GoldenFormat::Jsonl => jsonl(&dataset)?,
        GoldenFormat::Csv => csv(&dataset),
    };
    let Some(file) = &args.file else { return Ok(session.output.part(&text)?) };
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    session.output.note(format!("wrote {}", file.display()));
    Ok(())
}

fn jsonl(dataset: &GoldenDataset) -> Result<String> {
    let mut text = String::new();
    for sample in &dataset.samples {
        text.push_str(&serde_json::to_string(sample)?);
        text.push('\n');
    }
    Ok(text)
}

fn csv(dataset: &GoldenDataset) -> String {
    let mut text = "sample_id,prompt,expected_output,domain,difficulty\n".to_owned();
    for sample in &dataset.samples {
        let fields = [
            sample.sample_id.as_str(),
            &sample.prompt,
            &sample.expected_output,
            &sample.domain,
            sample.difficulty.as_str(),
        ];
        text.push_str(&fields.map(quoted).join(","));
        text.push('\n');
    }
    text
}

/// A field as RFC 4180 writes it.
fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_with_commas_quotes_or_line_ends_is_quoted() {
        assert_eq!(quoted("§ 35 BauGB"), "§ 35 BauGB");
        assert_eq!(quoted("a, \"b\"\nc"), "\"a, \"\"b\"\"\nc\"");
    }
}
