//! `clara data show`: what a dataset holds, where it came from and what was left out.

use anyhow::{Context, Result};
use clap::Args;
use clara_ingest_worker::{
    card::{self, CARD},
    inspect,
};
use clara_lifecycle::{counted::counted, dataset::DatasetManifest, spec::IngestOptions};
use serde_json::json;

use super::{
    DatasetArg,
    opened::{Opened, Reach},
};
use crate::{
    figures::{self, NONE},
    session::Session,
};

/// A dataset to show.
#[derive(Debug, Clone, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    dataset: DatasetArg,
    /// Print its card (Markdown) instead: counts, sources, options, ten samples
    #[arg(long)]
    card: bool,
}

pub(super) async fn run(session: &Session, args: &ShowArgs) -> Result<()> {
    let name = &args.dataset.dataset;
    let opened = Reach::new(session).open(name, &[CARD]).await?;
    if args.card {
        let path = opened.folder().join(CARD);
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("{name} has no card: it was made by an earlier version; `clara data show {name}` tells the rest")
        })?;
        if session.output.is_json() {
            return session.output.json(&json!({ "markdown": text }));
        }
        return Ok(session.output.part(&figures::plain(&text))?);
    }
    let Opened { manifest, document, .. } = &opened;
    if session.output.is_json() {
        let mut shown = json!({ "manifest": manifest });
        if let (Some(shown), Some(document)) = (shown.as_object_mut(), document) {
            let fields = serde_json::to_value(document)?;
            shown.extend(fields.as_object().cloned().unwrap_or_default());
        }
        return session.output.json(&shown);
    }
    let mut fields = Vec::new();
    if let Some(document) = document {
        fields.extend([
            ("dataset", document.digest.to_string()),
            ("made", document.made_at.map_or_else(|| NONE.to_owned(), figures::time)),
            ("jobs", lines(&document.jobs)),
            ("adapters", lines(&document.adapters)),
            (
                "size",
                format!(
                    "{} in {}",
                    figures::bytes(document.size_bytes),
                    counted(document.files.len(), "file")
                ),
            ),
        ]);
    }
    fields.extend(of_manifest(manifest));
    session.output.fields(&fields)?;
    tell_dropped(session, manifest)
}

pub(crate) fn of_manifest(manifest: &DatasetManifest) -> Vec<(&'static str, String)> {
    let DatasetManifest { documents_read, documents_kept, train_records, validation_records, .. } = manifest;
    let golden = manifest.golden_overlap.as_ref().map_or_else(
        || "none: nothing was compared".to_owned(),
        |overlap| {
            format!("{}, {} left out", overlap.golden_dataset, counted(overlap.removed.len(), "document"))
        },
    );
    let options = manifest.options.as_ref().map_or_else(
        || NONE.to_owned(),
        |options| {
            let changed = card::changed(options, &IngestOptions::default());
            let changed: Vec<_> = changed.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            if changed.is_empty() { "the defaults".to_owned() } else { changed.join("\n") }
        },
    );
    let shape = &manifest.shape;
    let tokens = match (&shape.tokens, &shape.tokens_not_counted) {
        (Some(tokens), _) => {
            format!(
                "{} to train on, {} held out; longest record {}",
                tokens.train, tokens.validation, tokens.longest
            )
        }
        (None, Some(why)) => format!("not counted: {why}"),
        (None, None) => NONE.to_owned(),
    };
    let mut fields = vec![
        ("domain", manifest.domain.clone()),
        ("query", manifest.query.clone().unwrap_or_else(|| NONE.to_owned())),
        ("sources", manifest.sources.join("\n")),
        ("source files", manifest.source_files.len().to_string()),
        ("documents", format!("{documents_kept} of {documents_read} kept")),
        ("records", format!("{train_records} to train on, {validation_records} held out")),
        ("tokens", tokens),
        ("golden dataset", golden),
        ("options", options),
        ("key", manifest.key.as_ref().map_or_else(|| NONE.to_owned(), ToString::to_string)),
    ];
    fields.extend(inspect::not_read(manifest).map(|files| ("not read", figures::plain(&files))));
    fields
}

/// What was left out, as a table after a blank line; nothing where nothing was.
pub(crate) fn tell_dropped(session: &Session, manifest: &DatasetManifest) -> Result<()> {
    if manifest.dropped.values().all(|count| *count == 0) {
        return Ok(());
    }
    session.output.line("")?;
    let rows = manifest.dropped.iter().map(|(reason, count)| [reason.to_string(), count.to_string()]);
    Ok(session.output.table(["left out as", "documents"], rows.collect())?)
}

fn lines(names: &[String]) -> String {
    if names.is_empty() { NONE.to_owned() } else { names.join("\n") }
}
