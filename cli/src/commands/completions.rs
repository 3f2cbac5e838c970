//! `clara completions`: scripts that let a shell complete commands and flags.

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::DONE;
use crate::{
    args::Cli,
    output::{Format, Output},
};

/// For which shell.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  clara completions bash > /etc/bash_completion.d/clara")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn print(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "clara", &mut script);
    let output = Output { format: Format::Table, quiet: false };
    output.part(&String::from_utf8(script)?)?;
    Ok(DONE)
}
