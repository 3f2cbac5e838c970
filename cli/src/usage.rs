//! The error of a command line that is wrong on every machine; it has an exit code of its own.

use clara_lifecycle::spec::SpecProblem;

/// What is wrong with the command line beyond its grammar, which the parser checks.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(String);

/// The command line is wrong for this reason.
pub(crate) fn usage(reason: impl Into<String>) -> anyhow::Error {
    Usage(reason.into()).into()
}

/// Refuses impossible options, all of them together.
pub(crate) fn check(problems: &[SpecProblem]) -> anyhow::Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> =
        problems.iter().map(|problem| format!("\n  {} {}", problem.field, problem.message)).collect();
    Err(usage(format!("the options cannot be used:{}", lines.concat())))
}

/// Whether the command line is to blame.
pub(crate) fn is_usage(error: &anyhow::Error) -> bool {
    error.is::<Usage>()
}
