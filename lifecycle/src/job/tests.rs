//! Every (state, event) pair of a job, and the rules of leases, retries and results.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    gate::{GateMode, GateReport},
    results::{AnswersResult, DatasetResult, EvaluationResult, RolloutResult, TrainingResult},
    samples::{artifact, digest, golden_input, spec},
    spec::JudgeBudget,
};

const NOW: Timestamp = Timestamp(1_000_000);
const TERMS: LeaseTerms =
    LeaseTerms { ttl: Duration::from_secs(30), progress_within: Duration::from_mins(10) };

fn waiting() -> Job {
    Job::submit("job-1".parse().unwrap(), spec(), golden_input(), NOW).0
}

fn submitted() -> Job {
    apply(&waiting(), Event::Admitted)
}

fn claim(stage: Stage, attempt: u32) -> Event {
    let (worker, claim) = ("worker-1".to_owned(), format!("claim-{stage}-{attempt}"));
    Event::Claimed { stage, attempt: Attempt(attempt), worker, claim, terms: TERMS }
}

fn live_key(job: &Job, stage: Stage) -> AttemptKey {
    AttemptKey { stage, attempt: job.stages.get(stage).attempt, fence: job.fence }
}

fn apply(job: &Job, event: Event) -> Job {
    let (after, commands) = job.apply(event, NOW).unwrap();
    let told = commands.iter().any(|command| matches!(command, Command::Record(event) if event.may_end()));
    assert!(told || job.is_at_rest() || !after.is_at_rest(), "nobody is told of the rest: {commands:?}");
    after
}

fn result_of(stage: Stage, decision: Decision) -> StageResult {
    match stage {
        Stage::Ingest => StageResult::Ingest(DatasetResult {
            dataset: artifact("dataset"),
            documents_read: 3,
            documents_kept: 2,
            dropped: std::collections::BTreeMap::new(),
            train_records: 1,
            validation_records: 1,
            source_digest: digest("source"),
            key: None,
            reused_from: None,
        }),
        Stage::Train => StageResult::Train(TrainingResult {
            adapter: artifact("adapter"),
            report: artifact("report"),
            base_model: "tiny".into(),
            base_model_digest: digest("base"),
            validation_loss_before: Some(2.0),
            validation_loss_after: Some(1.0),
            training_loss: 1.0,
            steps: 4,
            tokens: 100,
        }),
        Stage::Generate => StageResult::Generate(AnswersResult {
            answers: artifact("answers"),
            candidate_nll: 1.0,
            champion_nll: None,
            base_nll: 2.0,
        }),
        Stage::Judge => StageResult::Judge(EvaluationResult {
            evaluation: artifact("evaluation"),
            samples: 30,
            unscored: 0,
            average_score: Some(90.0),
            pass_rate: Some(1.0),
        }),
        Stage::Gate => StageResult::Gate(GateReport {
            decision,
            reasons: Vec::new(),
            mode: GateMode::Point,
            mean: Some(90.0),
            lower_bound: None,
            upper_bound: None,
            scored: 30,
            unscored: 0,
            pass_rate: Some(1.0),
            champion_delta: None,
            evidence: crate::gate::GateEvidence::default(),
        }),
        Stage::Rollout => StageResult::Rollout(RolloutResult {
            adapter_id: "a-v1.0.0".into(),
            previous_champion: None,
            targets: Vec::new(),
        }),
    }
}

fn leased(job: &Job, stage: Stage) -> Job {
    apply(job, claim(stage, job.stages.get(stage).attempt.0))
}

fn completed(job: &Job, stage: Stage, decision: Decision) -> Job {
    let job = leased(job, stage);
    let result = Arc::new(result_of(stage, decision));
    let job = apply(&job, Event::Completed { key: live_key(&job, stage), result });
    if stage == Stage::Train { apply(&job, Event::Registered { adapter_id: "a-v1.0.0".into() }) } else { job }
}

fn at_stage(stage: Stage) -> Job {
    let before = Stage::ALL.into_iter().filter(|earlier| *earlier < stage);
    before.fold(submitted(), |job, earlier| completed(&job, earlier, Decision::Approve))
}

fn decided(decision: Decision) -> Job {
    completed(&at_stage(Stage::Gate), Stage::Gate, decision)
}

fn stuck(stage: Stage) -> Job {
    let job = leased(&at_stage(stage), stage);
    let failed = Event::Failed { key: live_key(&job, stage), message: "broken".into(), retryable: false };
    apply(&job, failed)
}

/// Each kind of state with a job in it.
fn states() -> Vec<(&'static str, Job)> {
    vec![
        ("waiting", waiting()),
        ("queued", at_stage(Stage::Train)),
        ("leased", leased(&at_stage(Stage::Train), Stage::Train)),
        ("stuck", stuck(Stage::Train)),
        ("in review", decided(Decision::Review)),
        ("approved", completed(&decided(Decision::Approve), Stage::Rollout, Decision::Approve)),
        ("rejected", decided(Decision::Reject)),
        ("inconclusive", decided(Decision::Inconclusive)),
        ("error", decided(Decision::Error)),
        ("cancelled", apply(&leased(&at_stage(Stage::Train), Stage::Train), Event::CancelRequested)),
    ]
}

/// Each kind of event, addressed at the train stage's newest attempt.
fn events(job: &Job) -> Vec<(&'static str, Event)> {
    let key = live_key(job, Stage::Train);
    let result = Arc::new(result_of(Stage::Train, Decision::Approve));
    let progress = Progress { counter: 1, ..Progress::default() };
    vec![
        ("claim", claim(Stage::Train, key.attempt.0)),
        ("heartbeat", Event::Heartbeat { key, progress, terms: TERMS }),
        ("complete", Event::Completed { key, result }),
        ("fail", Event::Failed { key, message: "no".into(), retryable: true }),
        ("hand back", Event::HandedBack { key }),
        ("deadline", Event::DeadlinePassed),
        ("admit", Event::Admitted),
        ("register", Event::Registered { adapter_id: "b-v1.0.0".into() }),
        ("cancel", Event::CancelRequested),
        ("retry", Event::RetryRequested { from: None }),
        ("raise", Event::BudgetRaised { most: 5.0 }),
        (
            "review",
            Event::Reviewed { verdict: Verdict::Approve, actor: "anna".into(), reason: "good".into() },
        ),
    ]
}

#[test]
fn every_event_in_every_state_either_applies_or_says_why_not() {
    let applies = |state: &str| -> &'static [&'static str] {
        match state {
            "waiting" => &["admit", "cancel"],
            "queued" => &["claim", "cancel"],
            // The first claim named `claim-train-1` is asked again here, so it is granted again.
            "leased" => &["claim", "heartbeat", "complete", "fail", "hand back", "cancel"],
            "stuck" => &["cancel", "retry"],
            "in review" => &["retry", "review"],
            "rejected" | "inconclusive" | "error" | "cancelled" => &["retry"],
            _ => &[],
        }
    };
    for (state, job) in states() {
        for (name, event) in events(&job) {
            let outcome = job.apply(event, NOW);
            let expected = applies(state).contains(&name);
            assert_eq!(outcome.is_ok(), expected, "{name} in state {state}: {:?}", outcome.err());
        }
    }
}

#[test]
fn a_refused_event_leaves_no_trace() {
    for (_, job) in states() {
        let before = job.clone();
        for (_, event) in events(&job) {
            let _ = job.apply(event, NOW);
        }
        assert_eq!(job, before);
    }
}

#[test]
fn a_job_passes_all_stages_and_ends_approved() {
    let job = completed(&decided(Decision::Approve), Stage::Rollout, Decision::Approve);
    assert_eq!(job.state, JobState::Finished { outcome: Outcome::Approved });
    assert!(Stage::ALL.into_iter().all(|stage| job.result(stage).is_some()));
}

#[test]
fn a_report_from_an_earlier_attempt_is_refused() {
    let job = leased(&at_stage(Stage::Train), Stage::Train);
    let stale = live_key(&job, Stage::Train);
    let job = apply(&job, Event::HandedBack { key: stale });
    let job = leased(&job, Stage::Train);
    let result = Arc::new(result_of(Stage::Train, Decision::Approve));
    let refused = job.apply(Event::Completed { key: stale, result }, NOW).unwrap_err();
    assert_eq!(refused, Rejected::StaleAttempt { got: Attempt(1), live: Attempt(2) });
}

#[test]
fn a_report_with_an_older_fence_is_refused() {
    let job = leased(&at_stage(Stage::Train), Stage::Train);
    let live = live_key(&job, Stage::Train);
    let stale = AttemptKey { fence: Fence(live.fence.0 - 1), ..live };
    let refused = job.apply(Event::HandedBack { key: stale }, NOW).unwrap_err();
    assert_eq!(refused, Rejected::StaleFence { got: stale.fence, live: live.fence });
}

#[test]
fn the_same_report_twice_is_a_duplicate() {
    let job = leased(&submitted(), Stage::Ingest);
    let report = Event::Completed {
        key: live_key(&job, Stage::Ingest),
        result: Arc::new(result_of(Stage::Ingest, Decision::Approve)),
    };
    let job = apply(&job, report.clone());
    assert_eq!(job.apply(report, NOW).unwrap_err(), Rejected::Duplicate);
}

#[test]
fn a_second_claim_of_a_leased_attempt_is_refused_with_the_holder() {
    let job = leased(&submitted(), Stage::Ingest);
    let other = Event::Claimed {
        stage: Stage::Ingest,
        attempt: Attempt(1),
        worker: "worker-2".into(),
        claim: "another".into(),
        terms: TERMS,
    };
    assert_eq!(job.apply(other, NOW).unwrap_err(), Rejected::AlreadyClaimed { by: "worker-1".into() });
}

#[test]
fn a_result_of_another_stage_is_refused() {
    let job = leased(&submitted(), Stage::Ingest);
    let result = Arc::new(result_of(Stage::Judge, Decision::Approve));
    let refused =
        job.apply(Event::Completed { key: live_key(&job, Stage::Ingest), result }, NOW).unwrap_err();
    assert_eq!(refused, Rejected::WrongResult { got: Stage::Judge, expected: Stage::Ingest });
}

#[test]
fn a_failed_attempt_is_queued_again_after_a_growing_pause_until_the_policy_is_spent() {
    let mut job = submitted();
    let mut pauses = Vec::new();
    for _ in 0..2 {
        job = leased(&job, Stage::Ingest);
        let key = live_key(&job, Stage::Ingest);
        job = apply(&job, Event::Failed { key, message: "disk full".into(), retryable: true });
        let StageState::Queued { not_before, .. } = job.stages.get(Stage::Ingest).state else {
            panic!("{job:?}")
        };
        pauses.push(not_before.since(NOW));
    }
    assert_eq!(pauses, [Duration::from_secs(1), Duration::from_secs(2)]);
    job = leased(&job, Stage::Ingest);
    let key = live_key(&job, Stage::Ingest);
    job = apply(&job, Event::Failed { key, message: "disk full".into(), retryable: true });
    assert_eq!(job.state, JobState::Stuck { stage: Stage::Ingest });
    assert_eq!(job.stages.get(Stage::Ingest).last_failure.as_ref().unwrap().message, "disk full");
}

#[test]
fn a_hand_back_is_no_failure_and_keeps_the_checkpoint() {
    let job = leased(&at_stage(Stage::Train), Stage::Train);
    let key = live_key(&job, Stage::Train);
    let progress = Progress { counter: 1, checkpoint: Some(artifact("checkpoint")), ..Progress::default() };
    let job = apply(&job, Event::Heartbeat { key, progress, terms: TERMS });
    let job = apply(&job, Event::HandedBack { key });
    let record = job.stages.get(Stage::Train);
    assert_eq!((record.failures, record.attempt), (0, Attempt(2)));
    let job = leased(&job, Stage::Train);
    let assignment = job.assignment(live_key(&job, Stage::Train), None).unwrap();
    assert_eq!(assignment.checkpoint, Some(artifact("checkpoint")));
}

#[test]
fn a_silent_worker_loses_its_lease_when_the_ttl_is_over() {
    let job = leased(&submitted(), Stage::Ingest);
    let almost = Timestamp(NOW.0 + 29_999);
    assert_eq!(job.apply(Event::DeadlinePassed, almost).unwrap_err(), Rejected::NotDue);
    let (job, _) = job.apply(Event::DeadlinePassed, Timestamp(NOW.0 + 30_000)).unwrap();
    assert!(matches!(job.stages.get(Stage::Ingest).state, StageState::Queued { .. }));
    assert!(job.stages.get(Stage::Ingest).last_failure.as_ref().unwrap().message.contains("no heartbeat"));
}

#[test]
fn a_worker_that_beats_without_progress_loses_its_lease_at_the_progress_deadline() {
    let mut job = leased(&submitted(), Stage::Ingest);
    let key = live_key(&job, Stage::Ingest);
    for beat in 1..=60 {
        let now = Timestamp(NOW.0 + beat * 10_000);
        let event = Event::Heartbeat { key, progress: Progress::default(), terms: TERMS };
        job = job.apply(event, now).unwrap().0;
    }
    let (job, _) = job.apply(Event::DeadlinePassed, Timestamp(NOW.0 + 600_000)).unwrap();
    assert!(job.stages.get(Stage::Ingest).last_failure.as_ref().unwrap().message.contains("no progress"));
}

#[test]
fn an_unclaimed_task_is_published_again_ever_more_rarely_and_stays_the_same_attempt() {
    let (mut job, mut now) = (submitted(), NOW);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let StageState::Queued { republish_at, .. } = job.stages.get(Stage::Ingest).state else {
            panic!("{job:?}")
        };
        let early = Timestamp(republish_at.0 - 1);
        assert_eq!(job.apply(Event::DeadlinePassed, early).unwrap_err(), Rejected::NotDue);
        let (later, commands) = job.apply(Event::DeadlinePassed, republish_at).unwrap();
        let first = Attempt(1);
        let publish = Command::Publish { stage: Stage::Ingest, attempt: first, not_before: republish_at };
        assert!(commands.contains(&publish), "{commands:?}");
        pauses.push(republish_at.since(now).as_secs() / 60);
        (job, now) = (later, republish_at);
    }
    assert_eq!(pauses, [1, 1, 2, 4, 8, 16, 32, 60]);
}

#[test]
fn a_heartbeat_after_a_cancel_is_told_so() {
    let job = leased(&submitted(), Stage::Ingest);
    let key = live_key(&job, Stage::Ingest);
    let job = apply(&job, Event::CancelRequested);
    let beat = Event::Heartbeat { key, progress: Progress::default(), terms: TERMS };
    assert_eq!(job.apply(beat, NOW).unwrap_err(), Rejected::Cancelled);
}

#[test]
fn a_retry_continues_from_the_stage_that_stopped_the_job() {
    let job = apply(&stuck(Stage::Judge), Event::RetryRequested { from: None });
    assert_eq!(job.state, JobState::Waiting { stage: Stage::Judge });
    let job = apply(&job, Event::Admitted);
    assert_eq!(job.state, JobState::Active { stage: Stage::Judge });
    assert_eq!(job.stages.get(Stage::Judge).attempt, Attempt(2));
    assert!(job.result(Stage::Generate).is_some());
}

#[test]
fn a_stuck_job_may_be_given_more_to_spend_on_its_judge_and_never_less() {
    let mut job = stuck(Stage::Judge);
    let raise = |job: &Job, most| job.apply(Event::BudgetRaised { most }, NOW);
    assert!(
        matches!(raise(&job, 5.0), Err(Rejected::Budget { .. })),
        "without a budget there is none to raise"
    );
    Arc::make_mut(&mut job.spec).judge.budget =
        Some(JudgeBudget { most: Some(2.0), prompt_price: 1.0, ..JudgeBudget::default() });
    for refused in [2.0, 1.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(raise(&job, refused), Err(Rejected::Budget { .. })), "{refused}");
    }
    let raised = apply(&job, Event::BudgetRaised { most: 5.0 });
    assert_eq!(raised.spec.judge.budget.as_ref().unwrap().most, Some(5.0));
    assert_eq!(raised.state, job.state);
    let active = apply(&apply(&raised, Event::RetryRequested { from: None }), Event::Admitted);
    assert!(matches!(raise(&active, 9.0), Err(Rejected::NotApplicable { .. })));
}

#[test]
fn a_retry_from_training_is_refused_once_the_adapter_is_registered() {
    let refused =
        decided(Decision::Reject).apply(Event::RetryRequested { from: Some(Stage::Train) }, NOW).unwrap_err();
    assert_eq!(refused, Rejected::AlreadyRegistered { adapter_id: "a-v1.0.0".into() });
}

#[test]
fn a_retry_from_a_stage_whose_input_is_missing_names_it() {
    let refused =
        stuck(Stage::Train).apply(Event::RetryRequested { from: Some(Stage::Gate) }, NOW).unwrap_err();
    assert_eq!(refused, Rejected::InputMissing { stage: Stage::Gate, missing: Stage::Train });
}

#[test]
fn an_approved_review_rolls_out_and_a_rejected_one_ends_the_job() {
    let review = |verdict| Event::Reviewed { verdict, actor: "anna".into(), reason: "read it".into() };
    let approved = apply(&decided(Decision::Review), review(Verdict::Approve));
    assert_eq!(approved.state, JobState::Active { stage: Stage::Rollout });
    let rejected = apply(&decided(Decision::Review), review(Verdict::Reject));
    assert_eq!(rejected.state, JobState::Finished { outcome: Outcome::Rejected });
}

#[test]
fn a_job_survives_the_way_through_json() {
    for (state, job) in states() {
        let text = serde_json::to_string(&job).unwrap();
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job, "{state}");
    }
}
