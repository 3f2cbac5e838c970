//! Trials of the fault suite with real processes over a real RabbitMQ and a real Redis. `make faults` runs many.

use std::path::Path;

use anyhow::{Result, ensure};
use clara_tests::faults::{
    Outcome, Seeds,
    real::{Programs, RealCase, run},
    table,
};

fn run_all(first: u64, trials: u64) -> Result<()> {
    let programs = Programs {
        worker: env!("CARGO_BIN_EXE_drill-worker").into(),
        coordinator: env!("CARGO_BIN_EXE_drill-coordinator").into(),
    };
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    let seeds: Vec<u64> = (first..first + trials).collect();
    let outcomes = run(&seeds, &programs, &scratch);
    eprintln!("{}", table(&outcomes));
    let broken: Vec<String> =
        outcomes.iter().filter(|outcome| !outcome.is_sound()).map(Outcome::to_string).collect();
    ensure!(broken.is_empty(), "{} of {} trials:\n{}", broken.len(), outcomes.len(), broken.join("\n"));
    Ok(())
}

#[test]
fn a_trial_of_each_case_with_real_processes_keeps_the_seven_invariants() -> Result<()> {
    run_all(0, RealCase::ALL.len() as u64)
}

#[test]
#[ignore = "slow: make faults"]
fn slow_trials_with_real_processes_keep_the_seven_invariants() -> Result<()> {
    let seeds = Seeds::asked_for(1003, 306)?;
    run_all(seeds.first, seeds.trials)
}
