//! Simulated trials of the fault suite: seeded faults, then the seven invariants. `make faults` runs many.

use std::{
    num::NonZero,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result, ensure};
use clara_tests::faults::{Case, Outcome, Seeds, run, table};
use parking_lot::Mutex;

/// Runs the trials of `seeds` on all cores and answers in order of the seeds.
fn run_all(first: u64, trials: u64) -> Result<Vec<Outcome<Case>>> {
    let scratch = tempfile::tempdir()?;
    let next = AtomicU64::new(0);
    let done = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= trials {
                        break;
                    }
                    let seed = first + number;
                    let outcome = run(seed, &scratch.path().join(seed.to_string()));
                    drop(std::fs::remove_dir_all(scratch.path().join(seed.to_string())));
                    done.lock().push(outcome.with_context(|| format!("seed {seed}")));
                }
            });
        }
    });
    let mut outcomes = done.into_inner().into_iter().collect::<Result<Vec<_>>>()?;
    outcomes.sort_by_key(|outcome| outcome.seed);
    Ok(outcomes)
}

fn verdict(outcomes: &[Outcome<Case>]) -> Result<()> {
    eprintln!("{}", table(outcomes));
    let broken: Vec<String> =
        outcomes.iter().filter(|outcome| !outcome.is_sound()).map(Outcome::to_string).collect();
    ensure!(broken.is_empty(), "{} of {} trials:\n{}", broken.len(), outcomes.len(), broken.join("\n"));
    Ok(())
}

#[test]
fn a_hundred_simulated_trials_keep_the_seven_invariants() -> Result<()> {
    verdict(&run_all(1, 112)?)
}

#[test]
#[ignore = "slow: make faults"]
fn slow_simulated_trials_keep_the_seven_invariants() -> Result<()> {
    let seeds = Seeds::asked_for(1000, 1400)?;
    verdict(&run_all(seeds.first, seeds.trials)?)
}
