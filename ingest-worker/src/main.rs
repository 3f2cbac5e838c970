//! The program `ingest-worker`.

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use clara_ingest_worker::IngestHandler;
use clara_runtime::service::{WorkerArgs, run_workers};

/// Turns sources of documents into training datasets: takes ingest tasks from the broker until SIGTERM or Ctrl-C
#[derive(Debug, Parser)]
#[command(name = "ingest-worker", version)]
struct Cli {
    #[command(flatten)]
    worker: WorkerArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run_workers("ingest-worker", &cli.worker, |_| vec![Arc::new(IngestHandler::new())])
}
