//! `clara job plot`: the curve of a job's training in a file.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use clara_coordinator::chart::svg::{self, Heading};
use clara_gpu_worker::folder::write_file;

use crate::{commands::DONE, session::Session, usage::usage};

#[cfg(test)]
mod tests;

/// What is drawn, and where it goes.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlotArgs {
    /// The job's id
    job: String,
    /// The SVG file to write [default: the job's id with `.svg`, in the current folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

pub(super) async fn plot(session: &Session, args: &PlotArgs) -> Result<u8> {
    let path = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.svg", args.job)));
    check_kind(&path)?;
    let connection = session.connect().await?;
    let job = connection.client.job(&args.job).await?;
    let curve = connection.client.curve(&args.job).await?;
    if session.output.is_json() {
        session.output.json(&curve)?;
        return Ok(DONE);
    }
    let Some(drawing) = svg::draw(&curve, &Heading::of(&job)) else {
        bail!("job {0} has no training step yet; `clara job show {0}` tells where it stands", job.id);
    };
    write(&path, &drawing, args.force)?;
    session.output.line(path.display())?;
    Ok(DONE)
}

/// Only SVG is drawn.
fn check_kind(path: &Path) -> Result<()> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    if extension.as_deref() == Some("svg") {
        return Ok(());
    }
    let svg = path.with_extension("svg");
    let (path, svg) = (path.display(), svg.display());
    Err(usage(format!(
        "cannot write {path}: only SVG is drawn; give a name that ends in .svg, and convert the file where another \
         format is needed, e.g. `rsvg-convert {svg} -o curve.png`"
    )))
}

fn write(path: &Path, content: &str, replace: bool) -> Result<()> {
    if path.exists() && !replace {
        bail!(
            "{} is there already; choose another name with --out, or replace it with --force",
            path.display()
        )
    }
    Ok(write_file(path, content.as_bytes())?)
}
