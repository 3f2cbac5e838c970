//! Reports for CI servers and pull requests: what was checked, as JUnit XML and as Markdown.

mod evaluation;
mod junit;
mod markdown;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

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

    /// Writes the report to the files that were asked for.
    pub(crate) fn write(&self, report: &Report) -> Result<()> {
        for (path, text) in [(&self.junit, junit::text(report)), (&self.markdown, markdown::text(report))] {
            if let Some(path) = path {
                std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(())
    }
}
