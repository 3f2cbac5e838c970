//! The program `drill-coordinator`: the coordinator daemon, with traps and faults around its ports.

use std::process::ExitCode;

fn main() -> ExitCode {
    clara_tests::faults::drill::run_coordinator()
}
