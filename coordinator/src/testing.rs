//! What the tests of this crate share: a coordinator's parts in a temporary folder, and fabricated results.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use clara_lifecycle::{
    answers::Answers,
    artifact::ArtifactRef,
    digest::Digest,
    gate::{Decision, GateMode, GateReport, Reason},
    golden::{GoldenDataset, GoldenSample},
    hello::{Hello, ProtocolRange},
    id::JobId,
    job::{AttemptKey, Event, Job, LeaseTerms, StageState},
    resources::Resources,
    results::{AnswersResult, DatasetResult, EvaluationResult, RolloutResult, StageResult, TrainingResult},
    samples::{self, JudgedAnswers},
    score::{AnswerDetails, CheckFinding, Evaluation},
    spec::JobSpec,
    stage::Stage,
    time::Timestamp,
};
use clara_runtime::{
    artifacts::ArtifactStore,
    broker::sqlite::SqliteBroker,
    clock::TestClock,
    state::{Order, Page, StateStore as _, sqlite::SqliteState},
    task::Tasks,
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    control_service::Control,
    driver::{Driver, DriverError},
    indexes,
    registry::{GarbageOptions, Review, Reviewed},
    review::Reviews,
    rollout::Rollouts,
    scheduler::Schedule,
    submit::Submission,
};

pub(crate) const TERMS: LeaseTerms =
    LeaseTerms { ttl: Duration::from_secs(30), progress_within: Duration::from_mins(10) };

/// The parts of a coordinator over one SQLite file, with a clock that stands still, and one frozen golden dataset.
pub(crate) struct House {
    pub(crate) state: Arc<SqliteState>,
    pub(crate) broker: Arc<SqliteBroker>,
    pub(crate) artifacts: ArtifactStore,
    pub(crate) driver: Driver,
    pub(crate) clock: Arc<TestClock>,
    _folder: tempfile::TempDir,
}

impl Driver {
    /// As [`Driver::review_as_seen`], on the version as it is now.
    pub(crate) async fn review(&self, adapter_id: &str, review: Review) -> Result<Reviewed, DriverError> {
        let seen = self.adapter(adapter_id).await?.version;
        self.review_as_seen(&seen, review).await
    }
}

impl House {
    /// The coordinator as its users see it.
    pub(crate) fn control(&self) -> Control {
        Control {
            driver: self.driver.clone(),
            broker: Arc::clone(&self.broker) as _,
            artifacts: self.artifacts.clone(),
            reviews: self.reviews(),
            check: None,
            tasks: Tasks::new(CancellationToken::new()),
            rollouts: Rollouts::new(self.driver.clone(), self.artifacts.clone()),
        }
    }

    /// Reviews as people do them.
    pub(crate) fn reviews(&self) -> Reviews {
        Reviews::new(self.driver.clone(), self.artifacts.clone())
    }

    pub(crate) fn empty() -> Self {
        Self::empty_with(Schedule::default())
    }

    fn empty_with(schedule: Schedule) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clara.db");
        let clock = Arc::new(TestClock::at(Timestamp(1_700_000_000_000)));
        let state = Arc::new(SqliteState::open_with_clock(&file, Arc::clone(&clock) as _).unwrap());
        // In a file of its own: it follows the wall clock, and all users of a file share one time.
        let broker = Arc::new(SqliteBroker::open(folder.path().join("broker.db")).unwrap());
        let artifacts = ArtifactStore::local(folder.path().join("artifacts")).unwrap();
        let driver = Driver::new(Arc::clone(&state) as _, schedule);
        Self { state, broker, artifacts, driver, clock, _folder: folder }
    }

    /// With the golden dataset that [`samples::spec`] names.
    pub(crate) async fn new() -> Self {
        Self::with_schedule(Schedule::default()).await
    }

    pub(crate) async fn with_schedule(schedule: Schedule) -> Self {
        let house = Self::empty_with(schedule);
        house.driver.put_golden(golden("1.0.0"), false).await.unwrap();
        house.driver.freeze_golden(&golden("1.0.0").dataset_id, "anna", &house.artifacts).await.unwrap();
        house
    }

    /// Stores a folder with one JSON file.
    pub(crate) async fn put(&self, prefix: &str, file: &str, document: &impl Serialize) -> ArtifactRef {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(file), serde_json::to_vec(document).unwrap()).unwrap();
        self.artifacts.put_folder(prefix, folder.path()).await.unwrap()
    }

    pub(crate) async fn submit(&self, spec: JobSpec) -> Job {
        let submitted = self.driver.submit(spec, None, Submission::New).await.unwrap();
        submitted.job.unwrap()
    }

    pub(crate) async fn job(&self, job: &JobId) -> Job {
        self.driver.records.job(job).await.unwrap().value
    }

    /// All jobs, in order of their submission.
    pub(crate) async fn jobs(&self) -> Vec<Job> {
        let page = Page { after: None, limit: 1000, order: Order::Ascending };
        let ids = self.state.members(indexes::JOBS, &page).await.unwrap();
        let jobs = self.driver.records.jobs(&ids).await.unwrap();
        jobs.into_iter().map(|job| job.unwrap().value).collect()
    }

    /// Everything that was told about the job, as JSON.
    pub(crate) async fn events(&self, job: &JobId) -> Vec<serde_json::Value> {
        self.driver.records.events(&crate::records::job_stream(job), 0).await.unwrap()
    }
}

pub(crate) fn golden(version: &str) -> GoldenDataset {
    let (id, domain) = ("law-golden".parse().unwrap(), "law".parse().unwrap());
    let mut dataset = GoldenDataset::new(id, domain, "anna".to_owned(), "2026-01-01T00:00:00Z".to_owned());
    dataset.version = version.parse().unwrap();
    dataset
        .add(GoldenSample::new("Was regelt § 35 BauGB?".to_owned(), "Das Bauen im Außenbereich.".to_owned()));
    dataset
}

/// What a worker of the default resources tells.
pub(crate) fn hello(worker: &str, stage: Stage, slots: u32) -> Hello {
    Hello {
        worker: worker.parse().unwrap(),
        stage,
        protocol: ProtocolRange::OURS,
        build: "0.1.0".to_owned(),
        slots,
        resources: Resources::default(),
        classes: Vec::new(),
    }
}

/// Takes the queued attempt of `stage`.
pub(crate) async fn claim(driver: &Driver, job: &JobId, stage: Stage) -> AttemptKey {
    let attempt = driver.records.job(job).await.unwrap().value.stages.get(stage).attempt;
    let event = Event::Claimed {
        stage,
        attempt,
        worker: "worker-1".to_owned(),
        claim: "claim-1".to_owned(),
        terms: TERMS,
    };
    let job = driver.apply(job, event).await.unwrap();
    let StageState::Leased(lease) = &job.stages.get(stage).state else { panic!("{stage} is not leased") };
    AttemptKey { stage, attempt, fence: lease.fence }
}

pub(crate) async fn complete(driver: &Driver, job: &JobId, result: StageResult) -> Result<Job, DriverError> {
    let key = claim(driver, job, result.stage()).await;
    let after = driver.apply(job, Event::Completed { key, result: Arc::new(result) }).await?;
    Ok(Job::clone(&after))
}

/// Completes all stages from ingest to before `end`, with the given decision of the gate.
pub(crate) async fn complete_until(driver: &Driver, job: &JobId, end: Option<Stage>, decision: Decision) {
    for stage in Stage::ALL.into_iter().take_while(|stage| Some(*stage) != end) {
        let after = complete(driver, job, result(stage, decision)).await.unwrap();
        if after.is_at_rest() {
            return;
        }
    }
}

/// A version in review with the artifacts that its evaluation lies in; the sample called `bad` failed a hard check.
pub(crate) async fn judged_in_review(house: &House) -> JobId {
    let mut asked = golden("1.0.0");
    let mut bad = GoldenSample::new("Was regelt Art. 14 GG?".to_owned(), "Das Eigentum.".to_owned());
    bad.sample_id = "bad".to_owned();
    asked.add(bad);
    let check = CheckFinding { code: "citation_missing".into(), is_hard: true, text: "no Art. 14".into() };
    let (answers, evaluation) = samples::evaluation_of(&asked, "law-lora-v1.0.0", |number| {
        let checks = if number == 1 { vec![check.clone()] } else { Vec::new() };
        let details = AnswerDetails { checks, ..AnswerDetails::default() };
        JudgedAnswers {
            candidate: (format!("answer {number} <script>alert(1)</script>"), samples::judged(9.0, details)),
            champion: Some((
                format!("older answer {number}"),
                samples::judged(8.0, AnswerDetails::default()),
            )),
        }
    });
    in_review(house, &answers, &evaluation).await
}

/// A version in review with these answers.
pub(crate) async fn in_review(house: &House, answers: &Answers, evaluation: &Evaluation) -> JobId {
    let answers = house.put("answers", "answers.json", answers).await;
    let evaluation = house.put("evaluation", "evaluation.json", evaluation).await;
    let job = house.submit(samples::spec()).await.id;
    for stage in Stage::ALL.into_iter().take_while(|stage| *stage != Stage::Rollout) {
        let result = match result(stage, Decision::Review) {
            StageResult::Generate(generated) => {
                StageResult::Generate(AnswersResult { answers: answers.clone(), ..generated })
            }
            StageResult::Judge(judged) => {
                StageResult::Judge(EvaluationResult { evaluation: evaluation.clone(), ..judged })
            }
            other => other,
        };
        complete(&house.driver, &job, result).await.unwrap();
    }
    job
}

/// An approved version with this evaluation and the adapter of the fixture `peft-tiny/ADAPTER`.
pub(crate) async fn judged_version(house: &House, adapter: &str, evaluation: &Evaluation) -> JobId {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/peft-tiny").join(adapter);
    let files = house.artifacts.put_folder(&format!("adapters/{adapter}"), &folder).await.unwrap();
    let evaluation = house.put(&format!("judged/{adapter}"), "evaluation.json", evaluation).await;
    let job = house.submit(samples::spec()).await.id;
    for stage in Stage::ALL.into_iter().take_while(|stage| *stage != Stage::Rollout) {
        let result = match result(stage, Decision::Approve) {
            StageResult::Train(trained) => {
                StageResult::Train(TrainingResult { adapter: files.clone(), ..trained })
            }
            StageResult::Judge(judged) => {
                StageResult::Judge(EvaluationResult { evaluation: evaluation.clone(), ..judged })
            }
            other => other,
        };
        complete(&house.driver, &job, result).await.unwrap();
    }
    job
}

/// A judged version whose answers and evaluation lie where its job puts them, and on which the gate decided.
pub(crate) async fn judged_in_place(house: &House, decision: Decision) -> (JobId, Answers, Evaluation) {
    let (answers, evaluation) =
        samples::evaluation_of(&golden("1.0.0"), "law-lora-v1.0.0", |_| JudgedAnswers {
            candidate: ("an answer".to_owned(), samples::judged(9.0, AnswerDetails::default())),
            champion: None,
        });
    let job = house.submit(samples::spec()).await.id;
    let folder = |stage: Stage| format!("jobs/{job}/{stage}/attempt-1-fence-1");
    for stage in Stage::ALL.into_iter().take_while(|stage| *stage != Stage::Rollout) {
        let made = match result(stage, decision) {
            StageResult::Generate(made) => {
                let answers = house.put(&folder(stage), "answers.json", &answers).await;
                StageResult::Generate(AnswersResult { answers, ..made })
            }
            StageResult::Judge(made) => {
                let evaluation = house.put(&folder(stage), "evaluation.json", &evaluation).await;
                StageResult::Judge(EvaluationResult { evaluation, ..made })
            }
            other => other,
        };
        complete(&house.driver, &job, made).await.unwrap();
    }
    (job, answers, evaluation)
}

/// Removes all that nothing needs, a century after it was made; answers which jobs were forgotten.
pub(crate) async fn remove_old(house: &House) -> Vec<String> {
    let day = Duration::from_hours(24);
    house.clock.advance(day * 36_500);
    let options = GarbageOptions { dry_run: false, grace: day, jobs_older_than: Some(day) };
    house.driver.collect_garbage(options, &house.artifacts).await.unwrap().jobs
}

/// A plausible result.
pub(crate) fn result(stage: Stage, decision: Decision) -> StageResult {
    match stage {
        Stage::Ingest => StageResult::Ingest(DatasetResult {
            dataset: samples::artifact("dataset"),
            documents_read: 12,
            documents_kept: 10,
            dropped: BTreeMap::new(),
            train_records: 9,
            validation_records: 1,
            source_digest: samples::digest("sources"),
            key: None,
            reused_from: None,
        }),
        Stage::Train => StageResult::Train(training("tiny")),
        Stage::Generate => StageResult::Generate(AnswersResult {
            answers: samples::artifact("answers"),
            candidate_nll: 2.0,
            champion_nll: None,
            base_nll: 2.5,
        }),
        Stage::Judge => StageResult::Judge(EvaluationResult {
            evaluation: samples::artifact("evaluation"),
            samples: 30,
            unscored: 0,
            average_score: Some(88.0),
            pass_rate: Some(1.0),
        }),
        Stage::Gate => StageResult::Gate(GateReport {
            decision,
            reasons: vec![Reason { code: "because".to_owned(), text: "the mean is 88".to_owned() }],
            mode: GateMode::Point,
            mean: Some(88.0),
            lower_bound: None,
            upper_bound: None,
            scored: 30,
            unscored: 0,
            pass_rate: Some(1.0),
            champion_delta: None,
            evidence: clara_lifecycle::gate::GateEvidence::default(),
        }),
        Stage::Rollout => StageResult::Rollout(RolloutResult {
            adapter_id: "law-lora-v1.0.0".to_owned(),
            previous_champion: None,
            targets: Vec::new(),
        }),
    }
}

pub(crate) fn training(base_model: &str) -> TrainingResult {
    TrainingResult {
        adapter: samples::artifact("adapter"),
        report: samples::artifact("report"),
        base_model: base_model.to_owned(),
        base_model_digest: Digest::of(base_model.as_bytes()),
        validation_loss_before: Some(5.0),
        validation_loss_after: Some(4.0),
        training_loss: 4.1,
        steps: 10,
        tokens: 1000,
    }
}
