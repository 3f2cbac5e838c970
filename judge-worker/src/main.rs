//! The program `judge-worker`.

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use clara_judge_worker::{JudgeConfig, JudgeHandler};
use clara_runtime::service::{WorkerArgs, run_workers};

// Many small values come and go on many threads at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lets an LLM judge score answers: takes judge tasks from the broker until SIGTERM or Ctrl-C
#[derive(Debug, Parser)]
#[command(
    name = "judge-worker",
    version,
    after_help = "Jobs that name no judge are scored by judge.url of the settings (CLARA_JUDGE__URL), e.g. a \
                  `gpu-worker serve --base MODEL`."
)]
struct Cli {
    #[command(flatten)]
    worker: WorkerArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run_workers("judge-worker", &cli.worker, |settings| {
        if settings.judge.url.is_none() {
            tracing::warn!(
                "judge.url is not set: jobs that name no judge themselves get stuck at the stage judge"
            );
        }
        Ok(vec![Arc::new(JudgeHandler::new(JudgeConfig::of(&settings.judge)))])
    })
}
