//! The user's command: parses the arguments, runs the command, answers its exit code.
#![forbid(unsafe_code)]
#![expect(clippy::doc_markdown, reason = "doc comments of flags are help texts for a terminal")]

mod args;
mod chart;
mod client;
mod commands;
mod embedded;
mod follow;
mod golden_file;
mod output;
mod progress;
mod report;
mod session;
mod spec;
mod usage;

use std::process::ExitCode;

use clap::Parser;
use clara_coordinator::figures;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(commands::run(cli));
            // Blocking work that ignores the end must not keep the process.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            output::complain(&format!(
                "the system gives no threads: {error}; close other programs and repeat"
            ));
            ExitCode::FAILURE
        }
    }
}
