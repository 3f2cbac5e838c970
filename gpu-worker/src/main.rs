//! The program `gpu-worker`.

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;
use clara_gpu_worker::cli::Cli;

// Many small values come and go on many threads at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "gpu-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}
