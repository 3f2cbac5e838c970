//! What really happened in a trial: handlers that began, how far they came, and what interrupted them.

use std::{collections::BTreeSet, sync::Arc};

use clara_lifecycle::{
    attempt::Assignment,
    id::{Attempt, JobId},
    job::JobEvent,
    stage::Stage,
    time::Timestamp,
};
use clara_runtime::{broker::Task, clock::Clock};
use parking_lot::Mutex;

use super::{
    invariants::{Execution, JobHistory},
    weather::SimulatedClock,
};

/// Takes notes of a simulation; clones write to the same journal.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    clock: Arc<SimulatedClock>,
    notes: Arc<Mutex<Notes>>,
}

/// Handlers that began, and what interrupted them.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    begun: Vec<Begun>,
    interruptions: Vec<Interruption>,
}

#[derive(Debug, Clone)]
struct Begun {
    execution: Execution,
    worker: String,
    first_step: u64,
    last_step: u64,
    is_over: bool,
}

#[derive(Debug, Clone)]
struct Interruption {
    job: JobId,
    stage: Stage,
    attempt: Attempt,
    at: Timestamp,
    /// Whether a handler ran; else its task was lost.
    was_running: bool,
}

/// Figures of a trial.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// Handlers that began beyond the one whose result was committed.
    pub duplicate_executions: u64,
    /// Seconds from an interruption to the event that says so.
    pub detect: Vec<f64>,
    /// Seconds from an interruption to the next claim of the stage.
    pub resume: Vec<f64>,
    /// Training steps that were done again.
    pub steps_lost: u64,
}

impl Journal {
    pub(super) fn new(clock: Arc<SimulatedClock>) -> Self {
        Self { clock, notes: Arc::default() }
    }

    /// A handler of `worker` begins at a step. Answers its number.
    pub(super) fn begin(&self, assignment: &Assignment, worker: &str, first_step: u64) -> usize {
        let execution = Execution::of(assignment, self.clock.now());
        self.notes.lock().begin(execution, worker, first_step)
    }

    pub(super) fn step(&self, number: usize, step: u64) {
        self.notes.lock().step(number, step);
    }

    pub(super) fn end(&self, number: usize) {
        self.notes.lock().end(number);
    }

    /// Whether a handler of `worker` runs.
    pub(super) fn is_busy(&self, worker: &str) -> bool {
        self.notes.lock().is_busy(worker)
    }

    /// Something happens to `worker`: what it runs is interrupted, or may be.
    pub(super) fn interrupt(&self, worker: &str, is_over: bool) {
        self.notes.lock().interrupt(worker, self.clock.now(), is_over);
    }

    /// A task is lost.
    pub(super) fn lost(&self, task: &Task) {
        let Task { job, stage, attempt, .. } = task.clone();
        let at = self.clock.now();
        self.notes.lock().interruptions.push(Interruption { job, stage, attempt, at, was_running: false });
    }

    pub(super) fn executions(&self) -> Vec<Execution> {
        self.notes.lock().executions()
    }

    /// What the faults cost.
    pub(super) fn cost(&self, jobs: &[JobHistory]) -> Cost {
        self.notes.lock().cost(jobs)
    }
}

impl Notes {
    /// A handler of `worker` begins at a step. Answers its number.
    pub(super) fn begin(&mut self, execution: Execution, worker: &str, first_step: u64) -> usize {
        let worker = worker.to_owned();
        self.begun.push(Begun { execution, worker, first_step, last_step: first_step, is_over: false });
        self.begun.len() - 1
    }

    pub(super) fn step(&mut self, number: usize, step: u64) {
        if let Some(begun) = self.begun.get_mut(number) {
            begun.last_step = step;
        }
    }

    pub(super) fn end(&mut self, number: usize) {
        if let Some(begun) = self.begun.get_mut(number) {
            begun.is_over = true;
        }
    }

    fn is_busy(&self, worker: &str) -> bool {
        self.begun.iter().any(|begun| begun.worker == worker && !begun.is_over)
    }

    /// Something happens to `worker`: what it runs is interrupted, or may be.
    pub(super) fn interrupt(&mut self, worker: &str, at: Timestamp, is_over: bool) {
        for begun in self.begun.iter_mut().filter(|begun| begun.worker == worker && !begun.is_over) {
            begun.is_over = is_over;
            let Execution { job, stage, attempt, .. } = begun.execution.clone();
            self.interruptions.push(Interruption { job, stage, attempt, at, was_running: true });
        }
    }

    /// Forgets everything about other jobs.
    pub(super) fn keep_only(&mut self, jobs: &BTreeSet<JobId>) {
        self.begun.retain(|begun| jobs.contains(&begun.execution.job));
        self.interruptions.retain(|interruption| jobs.contains(&interruption.job));
    }

    pub(super) fn executions(&self) -> Vec<Execution> {
        self.begun.iter().map(|begun| begun.execution.clone()).collect()
    }

    /// What the faults cost.
    pub(super) fn cost(&self, jobs: &[JobHistory]) -> Cost {
        let mut cost = Cost::default();
        let watched: BTreeSet<Stage> = self.begun.iter().map(|begun| begun.execution.stage).collect();
        let committed: u64 = jobs.iter().map(|history| commits(history, &watched)).sum();
        cost.duplicate_executions = (self.begun.len() as u64).saturating_sub(committed);
        for interruption in &self.interruptions {
            let Some(history) = jobs.iter().find(|history| history.job.id == interruption.job) else {
                continue;
            };
            interruption.measure(history, &mut cost);
        }
        for (number, begun) in self.begun.iter().enumerate() {
            let Execution { job, stage, .. } = &begun.execution;
            let same = |next: &&Begun| next.execution.job == *job && next.execution.stage == *stage;
            if *stage == Stage::Train
                && let Some(next) = self.begun.iter().skip(number + 1).find(same)
            {
                cost.steps_lost += begun.last_step.saturating_sub(next.first_step);
            }
        }
        cost
    }
}

impl Execution {
    /// The attempt of `assignment`, begun at a time.
    pub(super) fn of(assignment: &Assignment, began_at: Timestamp) -> Self {
        let Assignment { job, stage, attempt, fence, .. } = assignment;
        Self { job: job.clone(), stage: *stage, attempt: *attempt, fence: *fence, began_at }
    }
}

/// Results of a job in the stages whose handlers were watched.
fn commits(history: &JobHistory, watched: &BTreeSet<Stage>) -> u64 {
    let is_commit = |(_, event): &&(Timestamp, JobEvent)| match event {
        JobEvent::Succeeded { result } => watched.contains(&result.stage()),
        _ => false,
    };
    history.events.iter().filter(is_commit).count() as u64
}

impl Interruption {
    fn measure(&self, history: &JobHistory, cost: &mut Cost) {
        let after = || history.events.iter().filter(|(at, _)| *at >= self.at);
        let ended = after().find_map(|(at, event)| match event {
            JobEvent::Failed { stage, attempt, .. } | JobEvent::HandedBack { stage, attempt } => {
                ((*stage, *attempt) == (self.stage, self.attempt)).then_some(*at)
            }
            _ => None,
        });
        let detected = if self.was_running { ended } else { Some(self.at) };
        let Some(detected) = detected else { return };
        let claimed =
            history.events.iter().filter(|(at, _)| *at >= detected).find_map(|(at, event)| match event {
                JobEvent::Claimed { stage, .. } => (*stage == self.stage).then_some(*at),
                _ => None,
            });
        if self.was_running {
            cost.detect.push(detected.since(self.at).as_secs_f64());
        }
        cost.resume.extend(claimed.map(|claimed| claimed.since(self.at).as_secs_f64()));
    }
}
