//! `clara data stats`: lengths, tokens, languages and what was left out.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use clara_ingest_worker::{
    card,
    inspect::{Statistics, TRAIN, VALIDATION, statistics},
};
use serde_json::json;

use super::{DatasetArg, opened::Reach, show::tell_dropped};
use crate::session::Session;

/// A dataset to count.
#[derive(Debug, Clone, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    dataset: DatasetArg,
    /// Draw the lengths of the records into this file, which is new or holds an earlier such drawing
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Draw what became of the documents into this file, which is new or holds an earlier such drawing
    #[arg(long, value_name = "FILE")]
    dropped_svg: Option<PathBuf>,
}

pub(super) async fn run(session: &Session, args: &StatsArgs) -> Result<()> {
    let opened = Reach::new(session).open(&args.dataset.dataset, &[TRAIN, VALIDATION]).await?;
    let folder = opened.folder().to_owned();
    let figures = tokio::task::spawn_blocking(move || statistics(&folder)).await??;
    let manifest = &opened.manifest;
    let drawings =
        [(&args.svg, card::lengths_svg(&figures.lengths)), (&args.dropped_svg, card::dropped_svg(manifest))];
    for (file, drawing) in drawings {
        let Some(file) = file else { continue };
        check_replaceable(file, &drawing)?;
        fs::write(file, drawing).with_context(|| format!("cannot write {}", file.display()))?;
        session.output.note(format!("wrote {}", file.display()));
    }
    if session.output.is_json() {
        let mut document = serde_json::to_value(&figures)?;
        if let Some(fields) = document.as_object_mut() {
            fields.insert("documents_read".to_owned(), json!(manifest.documents_read));
            fields.insert("dropped".to_owned(), serde_json::to_value(&manifest.dropped)?);
        }
        return session.output.json(&document);
    }
    session.output.fields(&lines(&figures))?;
    session.output.line("")?;
    let rows = figures.lengths.rows().into_iter().map(|(range, count)| [range, count.to_string()]);
    session.output.table(["characters", "records"], rows.collect())?;
    tell_dropped(session, manifest)
}

/// Refuses a file that is there and holds something else than an earlier drawing of the same.
fn check_replaceable(file: &Path, drawing: &str) -> Result<()> {
    let there = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let there = String::from_utf8_lossy(&there);
    if there.starts_with("<svg ") && title(&there).is_some_and(|found| title(drawing) == Some(found)) {
        return Ok(());
    }
    bail!("{} is there already and holds something else; give a new file", file.display())
}

/// The line with the title of a drawing.
fn title(drawing: &str) -> Option<&str> {
    drawing.lines().find(|line| line.starts_with("<title>"))
}

fn lines(figures: &Statistics) -> Vec<(&'static str, String)> {
    let [low, middle, high, longest] = figures.record_chars;
    let counts = |counts: &mut dyn Iterator<Item = (String, u64)>| {
        let mut counts: Vec<_> = counts.collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    let tokens = figures.tokens.as_ref().and_then(|tokens| tokens.as_object()).map_or_else(
        || "not counted: the ingest-worker had no tokenizer of the base model".to_owned(),
        |tokens| {
            let tokens: Vec<_> = tokens.iter().map(|(name, value)| format!("{name} {value}")).collect();
            tokens.join(", ").replace('"', "")
        },
    );
    vec![
        ("documents", figures.documents.to_string()),
        ("records", figures.records.to_string()),
        ("characters", figures.chars.to_string()),
        ("per record", format!("5 % below {low}, half below {middle}, 95 % below {high}, longest {longest}")),
        ("tokens", tokens),
        ("kinds", counts(&mut figures.kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)))),
        ("languages", counts(&mut figures.languages.iter().map(|(code, count)| (code.clone(), *count)))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_drawing_of_the_same_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lengths.svg");
        let [lengths, dropped] =
            ["Lengths", "Documents"].map(|title| card::bars(title, &[("a".to_owned(), 1)]));
        check_replaceable(&file, &lengths).unwrap();
        fs::write(&file, &lengths).unwrap();
        check_replaceable(&file, &lengths).unwrap();
        for other in [dropped.as_str(), "my notes", ""] {
            fs::write(&file, other).unwrap();
            let error = check_replaceable(&file, &lengths).unwrap_err().to_string();
            assert!(error.contains("is there already"), "{error}");
        }
    }
}
