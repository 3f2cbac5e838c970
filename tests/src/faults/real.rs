//! Trials with real processes: daemons over a real RabbitMQ and a real Redis, killed, stopped, cut off and misled.

use std::{
    collections::VecDeque,
    num::NonZero,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use parking_lot::Mutex;

use super::{Cost, Outcome};
use servers::{Lane, Servers};

pub use case::RealCase;

mod case;
mod cluster;
mod daemon;
mod plan;
mod servers;
mod strikes;
mod strikes_on_servers;
mod trial;

/// How long leases last.
const LEASE: Duration = Duration::from_secs(2);

/// The programs of a drill.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `drill-worker`.
    pub worker: PathBuf,
    /// `drill-coordinator`.
    pub coordinator: PathBuf,
}

/// Runs the trials of `seeds`, many at the same time, and answers in order of the seeds. A trial that is not sound
/// leaves its notes and logs in a folder of `scratch`.
pub fn run(seeds: &[u64], programs: &Programs, scratch: &Path) -> Vec<Outcome<RealCase>> {
    let (servers, done) = (Servers::default(), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let queues = Lane::ALL.map(|lane| {
        let is_here = |seed: &u64| RealCase::of(*seed).lane() == lane;
        (lane, Mutex::new(seeds.iter().copied().filter(is_here).collect::<VecDeque<u64>>()))
    });
    std::thread::scope(|scope| {
        for (lane, queue) in &queues {
            for _ in 0..lane.width(cores) {
                scope.spawn(|| {
                    while let Some(seed) = next(queue) {
                        let of_lane = servers.of(*lane);
                        let outcome =
                            of_lane.and_then(|servers| trial::run(seed, programs, &servers, scratch));
                        done.lock().push(told(seed, outcome));
                    }
                });
            }
        }
    });
    let mut outcomes = done.into_inner();
    outcomes.sort_by_key(|outcome| outcome.seed);
    outcomes
}

fn next(queue: &Mutex<VecDeque<u64>>) -> Option<u64> {
    queue.lock().pop_front()
}

/// Says how a trial went: many minutes pass until all are done. One that could not be carried out is not sound.
fn told(seed: u64, outcome: Result<Outcome<RealCase>>) -> Outcome<RealCase> {
    let outcome = outcome.unwrap_or_else(|error| Outcome {
        seed,
        case: RealCase::of(seed),
        jobs: 0,
        violations: Vec::new(),
        unmet: vec![format!("it could not be carried out: {error:#}")],
        cost: Cost::default(),
        dead_letters: 0,
        took: Duration::ZERO,
    });
    if outcome.is_sound() {
        eprintln!("seed {seed} ({}): {:.1} s", outcome.case, outcome.took.as_secs_f64());
    } else {
        eprintln!("{outcome}");
    }
    outcome
}
