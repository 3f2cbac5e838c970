//! Model check of the dispatch protocol: tickets and reports may come late, twice and in any order, workers may
//! crash or stall at any moment, users may cancel and retry at any moment; the rules of a job must hold all the same.

#![expect(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a test as a whole: what cannot be built must fail it"
)]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use clara_lifecycle::{
    gate::{Decision, GateMode, GateReport},
    id::{Attempt, Fence},
    job::{AttemptKey, Command, Event, Job, JobState, LeaseTerms, StageState},
    results::{AnswersResult, DatasetResult, EvaluationResult, RolloutResult, StageResult, TrainingResult},
    samples::{artifact, digest, golden_input, spec},
    stage::Stage,
    time::Timestamp,
};
use stateright::{Checker, Expectation, Model, Property};

const START: Timestamp = Timestamp(0);
/// Late enough that every lease has ended.
const LATE: Timestamp = Timestamp(1_000_000);
const TERMS: LeaseTerms =
    LeaseTerms { ttl: Duration::from_secs(30), progress_within: Duration::from_mins(1) };

/// Everything in the world: the stored job, what is in flight, and what workers believe.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    /// The stored job as JSON, so that it can be hashed.
    job: String,
    /// Published tickets; never removed, so each may be delivered at any time, any number of times.
    tickets: BTreeSet<(Stage, Attempt)>,
    /// Attempts that some worker believes to hold, dead leases included.
    held: BTreeSet<AttemptKey>,
    /// Sent reports; never removed either.
    reports: BTreeSet<(AttemptKey, bool)>,
    /// Fences of all results that were ever accepted, by stage.
    accepted: BTreeSet<(Stage, Fence)>,
    cancels: u8,
    retries: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Action {
    DeliverTicket(Stage, Attempt),
    /// The worker sends its report; it may be lost, doubled or delayed.
    Report(AttemptKey, bool),
    DeliverReport(AttemptKey, bool),
    DeliverHandBack(AttemptKey),
    Crash(AttemptKey),
    Reap,
    Admit,
    Cancel,
    Retry,
}

struct Protocol {
    first_stage: Stage,
    fences: u64,
}

fn job_of(world: &World) -> Job {
    serde_json::from_str(&world.job).unwrap()
}

fn success(stage: Stage) -> StageResult {
    match stage {
        Stage::Ingest => StageResult::Ingest(DatasetResult {
            dataset: artifact("dataset"),
            documents_read: 1,
            documents_kept: 1,
            dropped: std::collections::BTreeMap::new(),
            train_records: 1,
            validation_records: 0,
            source_digest: digest("source"),
            key: None,
            reused_from: None,
        }),
        Stage::Train => StageResult::Train(TrainingResult {
            adapter: artifact("adapter"),
            report: artifact("report"),
            base_model: "tiny".into(),
            base_model_digest: digest("base"),
            validation_loss_before: None,
            validation_loss_after: None,
            training_loss: 1.0,
            steps: 1,
            tokens: 1,
        }),
        Stage::Generate => StageResult::Generate(AnswersResult {
            answers: artifact("answers"),
            candidate_nll: 1.0,
            champion_nll: None,
            base_nll: 1.0,
        }),
        Stage::Judge => StageResult::Judge(EvaluationResult {
            evaluation: artifact("evaluation"),
            samples: 1,
            unscored: 0,
            average_score: Some(90.0),
            pass_rate: Some(1.0),
        }),
        Stage::Gate => StageResult::Gate(GateReport {
            decision: Decision::Approve,
            reasons: Vec::new(),
            mode: GateMode::Point,
            mean: None,
            lower_bound: None,
            upper_bound: None,
            scored: 1,
            unscored: 0,
            pass_rate: None,
            champion_delta: None,
            evidence: clara_lifecycle::gate::GateEvidence::default(),
        }),
        Stage::Rollout => StageResult::Rollout(RolloutResult {
            adapter_id: "a-v1.0.0".into(),
            previous_champion: None,
            targets: Vec::new(),
        }),
    }
}

impl World {
    /// What the driver does with an event; a refused one changes nothing.
    fn apply(&mut self, event: Event, now: Timestamp) -> Option<Job> {
        let (job, commands) = job_of(self).apply(event, now).ok()?;
        let mut registers = false;
        for command in commands {
            match command {
                Command::Publish { stage, attempt, .. } => {
                    self.tickets.insert((stage, attempt));
                }
                Command::Register(_) => registers = true,
                Command::Watch(_)
                | Command::Decide(_)
                | Command::Review { .. }
                | Command::Promote
                | Command::Record(_) => {}
            }
        }
        let job = if registers {
            job.apply(Event::Registered { adapter_id: "a-v1.0.0".into() }, now).ok()?.0
        } else {
            job
        };
        self.job = serde_json::to_string(&job).unwrap();
        Some(job)
    }

    fn deliver_report(&mut self, key: AttemptKey, succeeded: bool) {
        let event = if succeeded {
            Event::Completed { key, result: Arc::new(success(key.stage)) }
        } else {
            Event::Failed { key, message: "broken".into(), retryable: true }
        };
        if self.apply(event, START).is_some() && succeeded {
            self.accepted.insert((key.stage, key.fence));
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut spec = spec();
        spec.retry.max_attempts = 2;
        let (job, _) = Job::submit("job-1".parse().unwrap(), spec, golden_input(), START);
        let mut world = World {
            job: serde_json::to_string(&job).unwrap(),
            tickets: BTreeSet::new(),
            held: BTreeSet::new(),
            reports: BTreeSet::new(),
            accepted: BTreeSet::new(),
            cancels: 0,
            retries: 0,
        };
        // Stages before the first one of interest pass without faults.
        world.apply(Event::Admitted, START).unwrap();
        for stage in Stage::ALL.into_iter().filter(|stage| *stage < self.first_stage) {
            let worker = "worker".to_owned();
            let claim =
                Event::Claimed { stage, attempt: Attempt(1), worker, claim: "c".into(), terms: TERMS };
            let fence = world.apply(claim, START).unwrap().fence;
            world.deliver_report(AttemptKey { stage, attempt: Attempt(1), fence }, true);
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend(world.tickets.iter().map(|(stage, attempt)| Action::DeliverTicket(*stage, *attempt)));
        for key in &world.held {
            actions.extend([
                Action::Report(*key, true),
                Action::Report(*key, false),
                Action::Crash(*key),
                Action::DeliverHandBack(*key),
            ]);
        }
        actions.extend(world.reports.iter().map(|(key, succeeded)| Action::DeliverReport(*key, *succeeded)));
        actions.extend([Action::Reap, Action::Admit, Action::Cancel, Action::Retry]);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::DeliverTicket(stage, attempt) => {
                let claim = format!("claim-{}", job_of(world).fence.next());
                let event = Event::Claimed { stage, attempt, worker: "worker".into(), claim, terms: TERMS };
                let job = next.apply(event, START)?;
                next.held.insert(AttemptKey { stage, attempt, fence: job.fence });
            }
            Action::Report(key, succeeded) => {
                next.held.remove(&key);
                next.reports.insert((key, succeeded));
            }
            Action::DeliverReport(key, succeeded) => next.deliver_report(key, succeeded),
            Action::DeliverHandBack(key) => {
                next.held.remove(&key);
                next.apply(Event::HandedBack { key }, START);
            }
            Action::Crash(key) => {
                next.held.remove(&key);
            }
            Action::Reap => {
                next.apply(Event::DeadlinePassed, LATE)?;
            }
            Action::Admit => {
                next.apply(Event::Admitted, START)?;
            }
            Action::Cancel if world.cancels == 0 => {
                next.cancels += 1;
                next.apply(Event::CancelRequested, START)?;
            }
            Action::Retry if world.retries == 0 => {
                next.retries += 1;
                next.apply(Event::RetryRequested { from: None }, START)?;
            }
            Action::Cancel | Action::Retry => return None,
        }
        (next != *world).then_some(next)
    }

    fn within_boundary(&self, world: &World) -> bool {
        job_of(world).fence.0 <= self.fences
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a stage has at most one accepted result per life", |_, world: &World| {
                // A retry may start a stage anew; without one there is exactly one life.
                Stage::ALL.iter().all(|stage| {
                    let results = world.accepted.iter().filter(|(of, _)| of == stage).count();
                    results <= 1 + usize::from(world.retries)
                })
            }),
            Property::always(
                "a stored result carries an accepted fence, and none is newer",
                |_, world: &World| {
                    let job = job_of(world);
                    Stage::ALL.into_iter().all(|stage| match &job.stages.get(stage).state {
                        StageState::Succeeded { fence, .. } => {
                            let newest =
                                world.accepted.iter().filter(|(of, _)| *of == stage).map(|(_, f)| *f).max();
                            newest == Some(*fence)
                        }
                        _ => true,
                    })
                },
            ),
            Property::always("no stage starts before the one before it has a result", |_, world: &World| {
                let job = job_of(world);
                let unfinished = Stage::ALL.into_iter().find(|stage| job.result(*stage).is_none());
                let JobState::Active { stage } = job.state else { return true };
                unfinished == Some(stage)
            }),
            Property::always("an active job has exactly one stage queued or leased", |_, world: &World| {
                let job = job_of(world);
                let open = |stage: &Stage| {
                    matches!(job.stages.get(*stage).state, StageState::Queued { .. } | StageState::Leased(_))
                };
                let expected = usize::from(matches!(job.state, JobState::Active { .. }));
                Stage::ALL.iter().filter(|stage| open(stage)).count() == expected
            }),
            Property::always("a queued attempt has a ticket", |_, world: &World| {
                let job = job_of(world);
                Stage::ALL.into_iter().all(|stage| {
                    let record = job.stages.get(stage);
                    !matches!(record.state, StageState::Queued { .. })
                        || world.tickets.contains(&(stage, record.attempt))
                })
            }),
            Property::always("failures never exceed the policy", |_, world: &World| {
                let job = job_of(world);
                Stage::ALL
                    .into_iter()
                    .all(|stage| job.stages.get(stage).failures <= job.spec.retry.max_attempts)
            }),
            Property::always("a cancelled job holds no lease", |_, world: &World| {
                let job = job_of(world);
                job.state != JobState::Cancelled
                    || Stage::ALL
                        .into_iter()
                        .all(|stage| !matches!(job.stages.get(stage).state, StageState::Leased(_)))
            }),
            Property::sometimes("a job can be approved", |_, world: &World| {
                matches!(job_of(world).state, JobState::Finished { .. })
            }),
            Property::sometimes("a job can get stuck", |_, world: &World| {
                matches!(job_of(world).state, JobState::Stuck { .. })
            }),
            Property::sometimes("a job can be cancelled", |_, world: &World| {
                job_of(world).state == JobState::Cancelled
            }),
        ]
    }
}

/// From the gate on, with every interleaving of faults up to a bound on claims.
#[test]
fn the_last_stages_keep_the_rules_under_redelivery_crash_late_report_cancel_and_retry() {
    let checker = Protocol { first_stage: Stage::Gate, fences: 7 }.checker().spawn_bfs().join();
    eprintln!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

/// The first stages, where training is accepted and registered; approval is too far away to be reached here.
#[test]
fn the_first_stages_keep_the_rules_under_redelivery_crash_late_report_cancel_and_retry() {
    let checker = Protocol { first_stage: Stage::Ingest, fences: 4 }.checker().spawn_bfs().join();
    eprintln!("{} states", checker.unique_state_count());
    for property in checker.model().properties() {
        match property.expectation {
            Expectation::Always => checker.assert_no_discovery(property.name),
            Expectation::Sometimes if property.name == "a job can be approved" => {}
            Expectation::Sometimes | Expectation::Eventually => {
                checker.assert_any_discovery(property.name);
            }
        }
    }
}
