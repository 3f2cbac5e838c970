//! What users do in every trial, simulated or real: they submit jobs, bring them to an end, and look at what is left.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use clara_coordinator::{DriverError, simulation::Users};
use clara_lifecycle::{
    gate::{Decision, GateMode},
    golden::{GoldenDataset, GoldenSample},
    id::JobId,
    job::{Event, Job, JobState, Verdict},
    samples,
    spec::JobSpec,
    stage::Stage,
};
use tokio::time::Instant;

use super::{
    handler::{DECISION, POISON},
    invariants::{Execution, History, JobHistory, Rest},
    weather::Sky,
};

/// More jobs than any trial has.
const MOST_JOBS: usize = 1000;

/// A golden dataset of one sample, which [`spec`] refers to.
pub(super) fn golden() -> Result<GoldenDataset> {
    let (id, domain) = ("law-golden".parse()?, "law".parse()?);
    let mut dataset = GoldenDataset::new(id, domain, "anna".to_owned(), "2026-01-01T00:00:00Z".to_owned());
    dataset.version = "1.0.0".parse()?;
    let (question, answer) = ("Was regelt § 35 BauGB?".to_owned(), "Das Bauen im Außenbereich.".to_owned());
    dataset.add(GoldenSample::new(question, answer));
    Ok(dataset)
}

/// What the user of order `number` asks for.
pub(super) fn spec(sky: &Sky, number: usize) -> JobSpec {
    let decision = sky.one_of(&["approve", "review", "reject"]).copied().unwrap_or_default();
    let tenant = sky.one_of(&["a", "b"]).copied().unwrap_or_default();
    let mut spec = samples::spec();
    spec.idempotency_key = Some(format!("order-{number}"));
    spec.labels =
        [(DECISION, decision), ("tenant", tenant)].map(|(name, value)| (name.into(), value.into())).into();
    spec.priority = u8::try_from(sky.below(10)).unwrap_or(5);
    spec.gate.mode = GateMode::Point;
    spec
}

/// Waits until every job ended, and does what users do with those that wait for them.
pub(super) async fn bring_to_an_end(
    users: &Users,
    sky: &Sky,
    accepted: &BTreeSet<JobId>,
    (look_every, within): (Duration, Duration),
) -> Result<()> {
    let give_up = Instant::now() + within;
    let mut retried = BTreeSet::new();
    loop {
        let mut open = 0;
        for id in accepted {
            let job = match users.job(id).await {
                Ok(job) => job,
                // The connection was lost with its server.
                Err(DriverError::State(error)) if error.is_retryable() => {
                    open += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let again = |job: &Job| {
                job.decision() != Some(Decision::Approve) && sky.strikes(20) && retried.insert(id.clone())
            };
            match wish(&job, again) {
                Wish::Nothing => continue,
                Wish::Wait => {}
                // Refused for a job that was approved by hand.
                Wish::Say(event) => drop(users.driver().apply(id, *event).await),
            }
            open += 1;
        }
        if open == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < give_up, "{open} jobs did not end within {within:?}");
        tokio::time::sleep(look_every).await;
    }
}

enum Wish {
    Nothing,
    Wait,
    Say(Box<Event>),
}

/// What a user wants of a job; `again` says whether one that was not approved is judged once more.
fn wish(job: &Job, again: impl FnOnce(&Job) -> bool) -> Wish {
    match job.state {
        JobState::Waiting { .. } | JobState::Active { .. } => Wish::Wait,
        // It would never end otherwise.
        JobState::Stuck { .. } if job.spec.labels.contains_key(POISON) => {
            Wish::Say(Event::CancelRequested.into())
        }
        JobState::Stuck { .. } => Wish::Say(Event::RetryRequested { from: None }.into()),
        JobState::InReview => {
            let (actor, reason) = ("anna".to_owned(), "looked at it".to_owned());
            Wish::Say(Event::Reviewed { verdict: Verdict::Approve, actor, reason }.into())
        }
        JobState::Finished { .. } if again(job) => {
            Wish::Say(Event::RetryRequested { from: Some(Stage::Judge) }.into())
        }
        JobState::Finished { .. } | JobState::Cancelled => Wish::Nothing,
    }
}

/// Everything that is known after a trial.
pub(super) async fn history(
    users: &Users,
    accepted: BTreeSet<JobId>,
    executions: Vec<Execution>,
    rest: Rest,
) -> Result<History> {
    let stored = users.state().list("job", None, MOST_JOBS).await?;
    let mut jobs = Vec::new();
    for record in stored {
        let (job, events) = users.job_and_events(&record.id.parse()?).await?;
        jobs.push(JobHistory { job, events });
    }
    Ok(History { accepted, jobs, executions, rest })
}
