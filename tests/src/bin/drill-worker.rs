//! The program `drill-worker`: a worker daemon whose stages only let time pass, with traps.

use std::process::ExitCode;

fn main() -> ExitCode {
    clara_tests::faults::drill::run_worker()
}
