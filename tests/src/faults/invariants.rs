//! The seven invariants, checked from the events of every job: the one judge of simulated and of real trials.
//!
//! (a) every accepted job ends exactly once; (b) each stage has one committed result; (c) no result is committed with
//! another fence than the newest; (d) no more attempts fail than the policy allows; (e) no stage starts before its
//! inputs are committed; (f) queues and leases are empty at rest; (g) the stored job is the fold of its events.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use clara_lifecycle::{
    artifact::ArtifactRef,
    id::{Attempt, Fence, JobId},
    job::{Job, JobEvent},
    results::StageResult,
    stage::Stage,
    time::Timestamp,
};

use fold::Folded;

mod fold;
#[cfg(test)]
mod tests;

/// Everything that is known after a trial.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Jobs whose submission was acknowledged.
    pub accepted: BTreeSet<JobId>,
    /// What the state store holds.
    pub jobs: Vec<JobHistory>,
    /// What handlers really began; empty where nobody watched them.
    pub executions: Vec<Execution>,
    /// What is left in queues and tables.
    pub rest: Rest,
}

/// A stored job and its log.
#[derive(Debug, Clone)]
pub struct JobHistory {
    /// The record.
    pub job: Job,
    /// Its events, in order.
    pub events: Vec<(Timestamp, JobEvent)>,
}

/// A handler that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The job.
    pub job: JobId,
    /// The stage.
    pub stage: Stage,
    /// The attempt.
    pub attempt: Attempt,
    /// The fence of its claim.
    pub fence: Fence,
    /// When it began, by the store's clock.
    pub began_at: Timestamp,
}

/// What is left when all jobs ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rest {
    /// Tasks in queues, delivered or not.
    pub tasks: usize,
    /// Entries in the outbox.
    pub outbox: usize,
    /// Deadlines that somebody still watches.
    pub deadlines: usize,
}

/// Which rule was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// (a): a job was lost, or ended more than once.
    EndsOnce,
    /// (b): a stage was committed twice.
    OneResult,
    /// (c): an older attempt committed.
    NewestFence,
    /// (d): more attempts than allowed.
    AttemptsWithinPolicy,
    /// (e): a stage started too early, or without a claim.
    InputsFirst,
    /// (f): something is left over.
    EmptyAtRest,
    /// (g): the record is not what the events tell.
    RecordIsFold,
}

/// A rule that a history breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub invariant: Invariant,
    /// What happened.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.invariant, self.found)
    }
}

/// Everything in `history` that breaks an invariant; empty when all seven hold.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let stored: BTreeSet<&JobId> = history.jobs.iter().map(|job| &job.job.id).collect();
    for lost in history.accepted.iter().filter(|job| !stored.contains(job)) {
        found.push(violation(Invariant::EndsOnce, format!("{lost} was accepted and is not stored")));
    }
    let mut claims = BTreeMap::new();
    for JobHistory { job, events } in &history.jobs {
        let mut folded = Folded::new(job.spec.retry.max_attempts);
        for (at, event) in events {
            let broken = folded.follow(event);
            found.extend(broken.into_iter().map(|violation| Violation {
                found: format!("{} at {}: {}", job.id, at.0, violation.found),
                ..violation
            }));
            if let JobEvent::Claimed { stage, attempt, .. } = event {
                claims.insert((job.id.clone(), *stage, *attempt, folded.fence()), *at);
            }
        }
        let broken = folded.compare(job);
        found.extend(
            broken.into_iter().map(|violation| Violation {
                found: format!("{}: {}", job.id, violation.found),
                ..violation
            }),
        );
    }
    found.extend(unclaimed(&history.executions, &claims));
    if history.rest != Rest::default() {
        found.push(violation(Invariant::EmptyAtRest, format!("left at rest: {:?}", history.rest)));
    }
    found
}

type Claims = BTreeMap<(JobId, Stage, Attempt, Fence), Timestamp>;

/// Executions without a claim of their own.
fn unclaimed(executions: &[Execution], claims: &Claims) -> Vec<Violation> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for execution in executions {
        let Execution { job, stage, attempt, fence, began_at } = execution;
        let key = (job.clone(), *stage, *attempt, *fence);
        let name = format!("attempt {attempt} of {stage} of {job} (fence {fence})");
        match claims.get(&key) {
            Some(at) if at <= began_at => {}
            Some(_) => {
                found.push(violation(Invariant::InputsFirst, format!("{name} began before it was claimed")));
            }
            None => {
                found.push(violation(Invariant::InputsFirst, format!("{name} began and was never claimed")));
            }
        }
        if !seen.insert(key) {
            found.push(violation(Invariant::InputsFirst, format!("{name} was begun twice by one claim")));
        }
    }
    found
}

fn violation(invariant: Invariant, found: impl Into<String>) -> Violation {
    Violation { invariant, found: found.into() }
}

/// The fence in the place of a result's artifacts; `None` for results that have none, and for other places.
fn fence_of(result: &StageResult) -> Option<Fence> {
    let artifact: &ArtifactRef = match result {
        StageResult::Ingest(result) => &result.dataset,
        StageResult::Train(result) => &result.adapter,
        StageResult::Generate(result) => &result.answers,
        StageResult::Judge(result) => &result.evaluation,
        StageResult::Gate(_) | StageResult::Rollout(_) => return None,
    };
    let (_, fence) = artifact.prefix.split_once("-fence-")?;
    let digits: String = fence.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().map(Fence)
}
