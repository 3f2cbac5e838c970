//! The command line of `gpu-worker`.

mod chat;
mod files;
mod logits;
mod serve;
mod signals;
mod train;

use clap::{Parser, Subcommand};

/// Trains, serves and inspects LoRA adapters on a frozen base model.
#[derive(Debug, Parser)]
#[command(name = "gpu-worker", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train an adapter from a JSONL file.
    Train(train::TrainArgs),
    /// Serve a base model and adapters to OpenAI clients.
    Serve(serve::ServeArgs),
    /// Talk with a base model or an adapter in the terminal.
    Chat(chat::ChatArgs),
    /// Write the logits of all positions of some prompts, to compare with another program.
    Logits(logits::LogitsArgs),
}

impl Cli {
    /// Carries out the command.
    ///
    /// # Errors
    /// What failed, with its causes.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Train(arguments) => arguments.run(),
            Command::Serve(arguments) => arguments.run(),
            Command::Chat(arguments) => arguments.run(),
            Command::Logits(arguments) => arguments.run(),
        }
    }
}
