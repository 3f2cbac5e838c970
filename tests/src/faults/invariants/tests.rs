//! Histories that keep the invariants, and for each invariant some that break it.

use clara_lifecycle::{
    job::{AttemptKey, Event, LeaseTerms, StageState},
    results::{DatasetResult, StageResult},
    samples,
};
use std::{sync::Arc, time::Duration};

use super::*;

const NOW: Timestamp = Timestamp(1_000);
const TERMS: LeaseTerms = LeaseTerms { ttl: Duration::from_secs(6), progress_within: Duration::from_mins(1) };

/// A job and the log that `Job::apply` gives it.
struct Told(JobHistory);

impl Told {
    fn new() -> Self {
        let id = "job-1".parse().unwrap();
        let (job, commands) = Job::submit(id, samples::spec(), samples::golden_input(), NOW);
        let mut told = Self(JobHistory { job, events: Vec::new() });
        told.tell(commands);
        told.apply(Event::Admitted);
        told
    }

    fn tell(&mut self, commands: Vec<clara_lifecycle::job::Command>) {
        for command in commands {
            if let clara_lifecycle::job::Command::Record(event) = command {
                self.0.events.push((NOW, event));
            }
        }
    }

    fn apply(&mut self, event: Event) {
        let (job, commands) = self.0.job.apply(event, NOW).unwrap();
        self.0.job = job;
        self.tell(commands);
    }

    fn claim(&mut self) -> AttemptKey {
        let stage = Stage::Ingest;
        let attempt = self.0.job.stages.get(stage).attempt;
        let (worker, claim) = ("worker-1".to_owned(), format!("claim-{attempt}"));
        self.apply(Event::Claimed { stage, attempt, worker, claim, terms: TERMS });
        let StageState::Leased(lease) = &self.0.job.stages.get(stage).state else { panic!("not leased") };
        AttemptKey { stage, attempt, fence: lease.fence }
    }

    fn fail(&mut self, key: AttemptKey) {
        self.apply(Event::Failed { key, message: "broken".to_owned(), retryable: true });
    }

    /// Ingests and is cancelled.
    fn ended() -> Self {
        let mut told = Self::new();
        let key = told.claim();
        told.fail(key);
        let key = told.claim();
        told.apply(Event::Completed { key, result: Arc::new(dataset(key.fence)) });
        told.apply(Event::CancelRequested);
        told
    }

    /// Puts an event after the last one that `is_before` names.
    fn insert_after(&mut self, is_before: impl Fn(&JobEvent) -> bool, event: JobEvent) {
        let place = self.0.events.iter().rposition(|(_, event)| is_before(event)).unwrap();
        self.0.events.insert(place + 1, (NOW, event));
    }

    fn broken(self) -> BTreeSet<Invariant> {
        broken(&self.history())
    }

    fn history(self) -> History {
        History { accepted: [self.0.job.id.clone()].into(), jobs: vec![self.0], ..History::default() }
    }
}

fn broken(history: &History) -> BTreeSet<Invariant> {
    check(history).into_iter().map(|found| found.invariant).collect()
}

fn dataset(fence: Fence) -> StageResult {
    let mut dataset = samples::artifact("dataset");
    dataset.prefix = format!("jobs/job-1/ingest/attempt-1-fence-{fence}/dataset");
    StageResult::Ingest(DatasetResult {
        dataset,
        documents_read: 1,
        documents_kept: 1,
        dropped: BTreeMap::new(),
        train_records: 1,
        validation_records: 0,
        source_digest: samples::digest("sources"),
        key: None,
        reused_from: None,
    })
}

fn is_success(event: &JobEvent) -> bool {
    matches!(event, JobEvent::Succeeded { .. })
}

#[test]
fn a_job_that_failed_once_and_went_on_keeps_all_invariants() {
    assert_eq!(check(&Told::ended().history()), Vec::new());
}

#[test]
fn a_job_that_was_accepted_and_is_gone_is_lost() {
    let mut history = Told::ended().history();
    history.jobs.clear();
    assert_eq!(broken(&history), [Invariant::EndsOnce].into());
}

#[test]
fn a_job_that_did_not_end_is_lost() {
    assert!(Told::new().broken().contains(&Invariant::EndsOnce));
}

#[test]
fn a_job_that_goes_on_after_its_end_ended_twice() {
    let mut told = Told::ended();
    told.0.events.push((NOW, JobEvent::Cancelled));
    assert!(told.broken().contains(&Invariant::EndsOnce));
}

#[test]
fn a_second_result_of_a_stage_is_a_double_commit() {
    let mut told = Told::ended();
    told.insert_after(is_success, JobEvent::Succeeded { result: Arc::new(dataset(Fence(2))) });
    assert_eq!(told.broken(), [Invariant::OneResult].into());
}

#[test]
fn a_result_with_an_older_fence_is_a_zombies() {
    let mut told = Told::new();
    let key = told.claim();
    told.fail(key);
    let key = told.claim();
    told.apply(Event::Completed { key, result: Arc::new(dataset(Fence(1))) });
    told.apply(Event::CancelRequested);
    assert_eq!(told.broken(), [Invariant::NewestFence].into());
}

#[test]
fn a_result_without_a_lease_is_a_zombies() {
    let mut told = Told::ended();
    told.0.events.retain(|(_, event)| !matches!(event, JobEvent::Claimed { .. }));
    assert!(told.broken().contains(&Invariant::NewestFence));
}

#[test]
fn more_failures_than_the_policy_allows_are_found() {
    let mut told = Told::ended();
    Arc::make_mut(&mut told.0.job.spec).retry.max_attempts = 0;
    assert_eq!(told.broken(), [Invariant::AttemptsWithinPolicy].into());
}

#[test]
fn a_stage_that_starts_before_its_input_is_found() {
    let mut told = Told::ended();
    told.0.events.retain(|(_, event)| !is_success(event));
    assert!(told.broken().contains(&Invariant::InputsFirst));
}

#[test]
fn a_handler_that_begins_without_a_claim_or_twice_is_found() {
    let execution = |fence| Execution {
        job: "job-1".parse().unwrap(),
        stage: Stage::Ingest,
        attempt: Attempt(1),
        fence: Fence(fence),
        began_at: NOW,
    };
    let mut history = Told::ended().history();
    history.executions = vec![execution(1)];
    assert_eq!(broken(&history), BTreeSet::new());
    history.executions = vec![execution(7)];
    assert_eq!(broken(&history), [Invariant::InputsFirst].into());
    history.executions = vec![execution(1), execution(1)];
    assert_eq!(broken(&history), [Invariant::InputsFirst].into());
}

#[test]
fn what_is_left_at_rest_is_found() {
    let mut history = Told::ended().history();
    history.rest.tasks = 1;
    assert_eq!(broken(&history), [Invariant::EmptyAtRest].into());
    let mut told = Told::new();
    told.claim();
    assert!(told.broken().contains(&Invariant::EmptyAtRest));
}

#[test]
fn a_record_that_is_not_what_the_events_tell_is_found() {
    let mut told = Told::ended();
    told.0.job.fence = Fence(9);
    assert_eq!(told.broken(), [Invariant::RecordIsFold].into());
}
