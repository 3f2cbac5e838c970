//! No-op jobs through the production queue, and the limit of the same servers without any bookkeeping.
#![forbid(unsafe_code)]

mod coordinator;
mod load;
mod noop;
mod raw;
mod scale;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the queue; `scripts/bench-queue.sh` runs all of it
#[derive(Debug, Parser)]
#[command(name = "queue_bench", version)]
enum Cli {
    /// A coordinator that leaves the gate to the no-op workers.
    Coordinator(coordinator::CoordinatorArgs),
    /// No-op workers of five stages, until SIGTERM.
    Worker(clara_runtime::service::WorkerArgs),
    /// No-op workers, and jobs for them: prints one line of JSON.
    Load(load::LoadArgs),
    /// Submits jobs of two tenants and reads what became of each: prints one line of JSON.
    Scale(scale::ScaleArgs),
    /// The limit: publishes stages and answers reports with one script call each; prints one line of JSON.
    RawCoordinator(raw::RawArgs),
    /// The limit: consumes stages, reports each by one call, acknowledges.
    RawWorker(raw::RawArgs),
}

fn main() -> ExitCode {
    match Cli::parse() {
        Cli::Coordinator(args) => coordinator::run(&args),
        Cli::Worker(args) => noop::run(&args),
        Cli::Load(args) => load::run(&args),
        Cli::Scale(args) => scale::run(&args),
        Cli::RawCoordinator(args) => raw::coordinator::run(args),
        Cli::RawWorker(args) => raw::worker::run(args),
    }
}
