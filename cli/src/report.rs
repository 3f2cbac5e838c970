//! Reports for CI servers and pull requests: what was checked, as JUnit XML and as Markdown.

mod evaluation;
mod junit;
mod markdown;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;

use crate::usage::usage;

pub(crate) use evaluation::of_evaluation;

/// Where a report goes besides standard output.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ReportFiles {
    /// Write a report for CI servers to this file (JUnit XML)
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write a report for people to this file (Markdown)
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

/// What was checked, and how it went.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    /// What it is about, in a line.
    pub(crate) title: String,
    /// Names and values at the head.
    pub(crate) facts: Vec<(String, String)>,
    /// Single checks, in the order in which they are shown.
    pub(crate) cases: Vec<Case>,
}

/// One check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    /// What kind of check, e.g. `sample`.
    pub(crate) group: &'static str,
    /// Which one.
    pub(crate) name: String,
    /// How it went.
    pub(crate) outcome: Outcome,
}

/// How a check went.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// Well; with a word about it.
    Passed(String),
    /// Not well; with the reason.
    Failed(String),
    /// It could not be told; with the reason.
    Broken(String),
}

impl ReportFiles {
    /// Whether nobody wants a report.
    pub(crate) fn is_empty(&self) -> bool {
        self.junit.is_none() && self.markdown.is_none()
    }

    /// Refuses files that cannot be written, before anything is spent on what they would tell; changes nothing.
    ///
    /// # Errors
    /// An error of usage with flag, file and reason.
    pub(crate) fn check(&self) -> Result<()> {
        for (flag, path) in [("--junit", &self.junit), ("--markdown", &self.markdown)] {
            let Some(path) = path else { continue };
            can_be_written(path).map_err(|error| {
                usage(format!("{flag} {} cannot be written: {error}; give another file", path.display()))
            })?;
        }
        Ok(())
    }

    /// Writes the report to the files that were asked for.
    pub(crate) fn write(&self, report: &Report) -> Result<()> {
        for (path, text) in [(&self.junit, junit::text(report)), (&self.markdown, markdown::text(report))] {
            if let Some(path) = path {
                fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// Whether a file can be written, or made where there is none.
fn can_be_written(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(known) if known.is_dir() => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        Ok(known) if known.is_file() => OpenOptions::new().append(true).open(path).map(drop),
        // To open a pipe would wait for its reader.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            tempfile::tempfile_in(folder.unwrap_or(Path::new("."))).map(drop)
        }
        Err(error) => Err(error),
    }
}
