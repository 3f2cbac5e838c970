//! The program `ingest-worker`.

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use clara_ingest_worker::IngestHandler;
use clara_runtime::service::{WorkerArgs, run_workers};

// Many small values come and go on many threads at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns sources of documents into training datasets: takes ingest tasks from the broker until SIGTERM or Ctrl-C
#[derive(Debug, Parser)]
#[command(name = "ingest-worker", version)]
struct Cli {
    #[command(flatten)]
    worker: WorkerArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run_workers("ingest-worker", &cli.worker, |settings| {
        Ok(vec![Arc::new(IngestHandler::new(settings.sources.clone()))])
    })
}
