//! `clara data diff`: what differs between two datasets.

use anyhow::Result;
use clap::Args;
use clara_ingest_worker::inspect::{Difference, TRAIN, VALIDATION, difference};

use super::opened::Reach;
use crate::{
    figures::{NONE, plain},
    session::Session,
};

/// So many documents of each kind are named without `--documents`.
const NAMED: usize = 5;

/// Two datasets.
#[derive(Debug, Clone, Args)]
pub(crate) struct DiffArgs {
    /// The one before: a job, an adapter, a digest or a folder
    from: String,
    /// The one after
    to: String,
    /// Name all documents that differ
    #[arg(long)]
    documents: bool,
}

pub(super) async fn run(session: &Session, args: &DiffArgs) -> Result<()> {
    let mut reach = Reach::new(session);
    let wanted = [TRAIN, VALIDATION];
    let (from, to) = (reach.open(&args.from, &wanted).await?, reach.open(&args.to, &wanted).await?);
    let (before, after) = (from.folder().to_owned(), to.folder().to_owned());
    let found = tokio::task::spawn_blocking(move || difference(&before, &after)).await??;
    if session.output.is_json() {
        return session.output.json(&found);
    }
    session.output.fields(&lines(&found, if args.documents { usize::MAX } else { NAMED }))?;
    if !found.options.is_empty() {
        session.output.line("")?;
        let said =
            |value: &Option<String>| value.clone().map_or_else(|| NONE.to_owned(), |value| plain(&value));
        let rows = found
            .options
            .iter()
            .map(|change| [change.name.clone(), said(&change.before), said(&change.after)]);
        session.output.table(["option", "before", "after"], rows.collect())?;
    }
    Ok(())
}

fn lines(found: &Difference, most: usize) -> Vec<(&'static str, String)> {
    let named = |ids: &[String]| {
        let mut lines = vec![ids.len().to_string()];
        lines.extend(ids.iter().take(most).map(|id| plain(id)));
        if ids.len() > most {
            lines.push("…".to_owned());
        }
        lines.join("\n")
    };
    vec![
        ("documents the same", found.same.to_string()),
        ("added", named(&found.added)),
        ("removed", named(&found.removed)),
        ("changed", named(&found.changed)),
        ("other side of the split", named(&found.moved)),
        ("source files new or changed", named(&found.source_files_added)),
        ("source files gone or changed", named(&found.source_files_removed)),
    ]
}
