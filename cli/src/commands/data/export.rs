//! `clara data export`: a dataset in a folder of its own, whole and verified or not at all.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use clara_ingest_worker::inspect::{self, MANIFEST};
use clara_lifecycle::counted::counted;

use super::{DatasetArg, opened::Reach};
use crate::session::Session;

/// A dataset to copy.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    dataset: DatasetArg,
    /// Folder to make; must not be there yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) async fn run(session: &Session, args: &ExportArgs) -> Result<()> {
    let (name, out) = (&args.dataset.dataset, &args.out);
    ensure!(!out.exists(), "{} is there already; give a new folder with --out", out.display());
    let mut reach = Reach::new(session);
    let opened = reach.open(name, &[]).await?;
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let partial = tempfile::Builder::new()
        .prefix(".clara-export-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    match &opened.document {
        Some(document) => {
            let client = &reach.connection().await?.client;
            for file in &document.files {
                client.fetch_dataset_file(name, file, partial.path()).await?;
            }
        }
        None => copy(opened.folder(), partial.path())?,
    }
    if let Some(first) = inspect::damage(partial.path(), &opened.manifest)?.first() {
        bail!("{name} is damaged and was not exported: {first}; fetch the dataset again, or make it anew");
    }
    let partial = partial.keep();
    std::fs::rename(&partial, out)
        .with_context(|| format!("cannot move {} to {}", partial.display(), out.display()))?;
    session.output.note(format!(
        "wrote {} to {}",
        counted(opened.manifest.train_records, "record"),
        out.display()
    ));
    if session.output.is_json() {
        return session.output.json(&serde_json::json!({ "folder": out, "manifest": opened.manifest }));
    }
    Ok(session.output.line(out.join(MANIFEST).display())?)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let target = to.join(entry.file_name());
            std::fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot copy {} to {}", entry.path().display(), target.display()))?;
        }
    }
    Ok(())
}
