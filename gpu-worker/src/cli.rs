//! The command line of `gpu-worker`.

mod chat;
mod daemon;
mod export;
mod files;
mod logits;
mod serve;
mod signals;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use clara_runtime::service::WorkerArgs;

/// Trains, serves and inspects LoRA adapters on a frozen base model
///
/// `gpu-worker run` is the daemon: it takes train and generate tasks from the broker. The other commands work without
/// a queue.
#[derive(Debug, Parser)]
#[command(name = "gpu-worker", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take train and generate tasks from the broker until SIGTERM or Ctrl-C.
    Run(WorkerArgs),
    /// Train an adapter from a JSONL file.
    Train(train::TrainArgs),
    /// Serve a base model and adapters to OpenAI clients.
    Serve(serve::ServeArgs),
    /// Talk with a base model or an adapter in the terminal.
    Chat(chat::ChatArgs),
    /// Write an adapter as a merged model, for llama.cpp, or without magnitudes, and prove it by its logits.
    Export(export::ExportArgs),
    /// Write the logits of all positions of some prompts, to compare with another program.
    Logits(logits::LogitsArgs),
}

impl Cli {
    /// Carries out the command.
    ///
    /// # Errors
    /// What failed, with its causes.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(arguments) => return Ok(daemon::run(&arguments)),
            Command::Train(arguments) => arguments.run(),
            Command::Serve(arguments) => arguments.run(),
            Command::Chat(arguments) => arguments.run(),
            Command::Export(arguments) => arguments.run(),
            Command::Logits(arguments) => arguments.run(),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}
