//! A broker, a coordinator and a handler that do what a test says.

use std::{
    collections::VecDeque,
    future::Future,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use clara_lifecycle::{
    attempt::Assignment,
    hello::{Hello, ProtocolRange, Welcome},
    id::{Attempt as AttemptNumber, ClassName, Fence},
    log::LogLine,
    results::{RolloutResult, StageResult},
};
use futures::future::BoxFuture;
use object_store::memory::InMemory;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    broker::{QueueDepth, QueueName, Task},
    coordinator_client::{ClaimedAttempt, CoordinatorError},
};

pub(super) fn task(number: u32) -> Task {
    let job = format!("job-{number}").parse().unwrap();
    Task {
        job,
        stage: Stage::Rollout,
        attempt: AttemptNumber::FIRST,
        priority: 5,
        class: ClassName::default(),
    }
}

pub(super) fn result() -> StageResult {
    StageResult::Rollout(RolloutResult {
        adapter_id: "law-lora-v1.0.0".to_owned(),
        previous_champion: None,
        targets: Vec::new(),
    })
}

/// What the coordinator answers next.
#[derive(Debug)]
pub(super) enum Answer<T> {
    Says(T),
    Lost,
    Refused,
    Never,
}

/// Answers in order; afterwards the usual one.
#[derive(Debug)]
pub(super) struct Answers<T>(Mutex<VecDeque<Answer<T>>>);

impl<T> Answers<T> {
    fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    pub(super) fn push(&self, answer: Answer<T>) {
        self.0.lock().push_back(answer);
    }

    async fn next(&self, usual: T) -> Result<T, CoordinatorError> {
        let next = self.0.lock().pop_front();
        match next {
            None => Ok(usual),
            Some(Answer::Says(answer)) => Ok(answer),
            Some(Answer::Lost) => {
                Err(CoordinatorError::Unavailable { url: "script".to_owned(), reason: "lost".to_owned() })
            }
            Some(Answer::Refused) => Err(CoordinatorError::Invalid {
                url: "script".to_owned(),
                call: "a call",
                reason: "not known".to_owned(),
            }),
            Some(Answer::Never) => std::future::pending().await,
        }
    }
}

#[derive(Debug)]
pub(super) struct ScriptedCoordinator {
    lease_ttl: Duration,
    started: Instant,
    pub(super) welcomes: Answers<Welcome>,
    pub(super) hellos: Mutex<Vec<Hello>>,
    pub(super) claims: Answers<ClaimAnswer>,
    pub(super) directives: Answers<Directive>,
    pub(super) reports: Answers<ReportOutcome>,
    pub(super) claim_ids: Mutex<Vec<String>>,
    pub(super) kept: Answers<()>,
    lines: Mutex<Vec<Vec<LogLine>>>,
    told: Mutex<Vec<String>>,
    beats: Mutex<Vec<(Duration, Progress)>>,
}

impl ScriptedCoordinator {
    fn grant(&self, claim: &Claim) -> ClaimAnswer {
        let assignment = Assignment {
            job: claim.task.job.clone(),
            stage: claim.task.stage,
            attempt: claim.task.attempt,
            fence: Fence(1),
            spec: samples::spec(),
            golden: samples::golden_input(),
            results: Vec::new(),
            adapter_id: None,
            champion: None,
            checkpoint: None,
            calibrations: Vec::new(),
            judge_offsets: std::collections::BTreeMap::new(),
            evaluations: 0,
            earlier: clara_lifecycle::results::EarlierDatasets::default(),
        };
        ClaimAnswer::Granted { assignment: Box::new(assignment), lease_ttl: self.lease_ttl }
    }

    fn hear(&self, call: String) {
        self.told.lock().push(call);
    }
}

#[async_trait]
impl Coordinator for ScriptedCoordinator {
    async fn hello(&self, hello: &Hello) -> Result<Welcome, CoordinatorError> {
        self.hellos.lock().push(hello.clone());
        let usual = Welcome {
            build: "0.1.0".to_owned(),
            protocol: ProtocolRange::OURS,
            classes: vec![ClassName::default()],
        };
        self.welcomes.next(usual).await
    }

    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, CoordinatorError> {
        self.claim_ids.lock().push(claim.claim_id.clone());
        let call = format!("claim {}", claim.task.job);
        let answer = self.claims.next(self.grant(claim)).await?;
        self.hear(call);
        Ok(answer)
    }

    async fn heartbeat(
        &self,
        _attempt: &ClaimedAttempt,
        progress: &Progress,
    ) -> Result<Directive, CoordinatorError> {
        self.beats.lock().push((self.started.elapsed(), progress.clone()));
        self.directives.next(Directive::Continue).await
    }

    async fn complete(
        &self,
        attempt: &ClaimedAttempt,
        _result: &StageResult,
    ) -> Result<ReportOutcome, CoordinatorError> {
        self.hear(format!("complete {} {}", attempt.job, attempt.key.fence));
        self.reports.next(ReportOutcome::Accepted).await
    }

    async fn fail(
        &self,
        attempt: &ClaimedAttempt,
        message: &str,
        retryable: bool,
    ) -> Result<ReportOutcome, CoordinatorError> {
        self.hear(format!("fail {} {message} {retryable}", attempt.job));
        self.reports.next(ReportOutcome::Accepted).await
    }

    async fn hand_back(&self, attempt: &ClaimedAttempt) -> Result<ReportOutcome, CoordinatorError> {
        self.hear(format!("hand back {}", attempt.job));
        self.reports.next(ReportOutcome::Accepted).await
    }

    async fn append_log(&self, _attempt: &ClaimedAttempt, lines: &[LogLine]) -> Result<(), CoordinatorError> {
        self.lines.lock().push(lines.to_vec());
        self.kept.next(()).await
    }
}

/// Delivers its tasks once, and again when they are given back.
#[derive(Debug, Default)]
pub(super) struct ScriptedBroker {
    ready: Mutex<VecDeque<Task>>,
    failures: Mutex<u32>,
    acknowledged: Mutex<usize>,
    released: Mutex<usize>,
}

impl ScriptedBroker {
    pub(super) fn fail_next(&self, calls: u32) {
        *self.failures.lock() = calls;
    }

    pub(super) fn acknowledged(&self) -> usize {
        *self.acknowledged.lock()
    }

    pub(super) fn released(&self) -> usize {
        *self.released.lock()
    }
}

#[async_trait]
impl Broker for ScriptedBroker {
    async fn publish(&self, task: &Task) -> Result<(), BrokerError> {
        self.ready.lock().push_back(task.clone());
        Ok(())
    }

    async fn receive(&self, _queues: &[QueueName], wait: Duration) -> Result<Option<Delivery>, BrokerError> {
        {
            let mut failures = self.failures.lock();
            if *failures > 0 {
                *failures -= 1;
                return Err(BrokerError::Unavailable {
                    broker: "script".to_owned(),
                    reason: "lost".to_owned(),
                });
            }
        }
        let next = self.ready.lock().pop_front();
        if next.is_none() {
            tokio::time::sleep(wait).await;
        }
        Ok(next.map(|task| Delivery { tag: task.job.to_string(), task, redelivered: false }))
    }

    async fn acknowledge(&self, _delivery: &Delivery) -> Result<bool, BrokerError> {
        *self.acknowledged.lock() += 1;
        Ok(true)
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), BrokerError> {
        *self.released.lock() += 1;
        self.publish(&delivery.task).await
    }

    async fn dead_letters(&self) -> Result<u64, BrokerError> {
        Ok(0)
    }

    async fn depth(&self, _queue: &QueueName) -> Result<QueueDepth, BrokerError> {
        Ok(QueueDepth { ready: self.ready.lock().len() as u64, unacknowledged: 0 })
    }
}

type Run = dyn Fn(AttemptContext) -> BoxFuture<'static, Result<StageResult, StageFailure>> + Send + Sync;

struct ScriptedHandler(Box<Run>);

#[async_trait]
impl StageHandler for ScriptedHandler {
    fn stage(&self) -> Stage {
        Stage::Rollout
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        (self.0)(context).await
    }
}

/// A handler whose first attempt fails, and breaks what all would compute on.
#[derive(Default)]
pub(super) struct Breaking {
    is_broken: AtomicBool,
}

#[async_trait]
impl StageHandler for Breaking {
    fn stage(&self) -> Stage {
        Stage::Rollout
    }

    fn unusable(&self) -> Option<String> {
        self.is_broken.load(Ordering::SeqCst).then(|| "the GPU was lost".to_owned())
    }

    async fn run(&self, _context: AttemptContext) -> Result<StageResult, StageFailure> {
        self.is_broken.store(true, Ordering::SeqCst);
        Err(StageFailure::retryable("the GPU was lost"))
    }
}

pub(super) fn handler<F>(run: impl Fn(AttemptContext) -> F + Send + Sync + 'static) -> Arc<dyn StageHandler>
where
    F: Future<Output = Result<StageResult, StageFailure>> + Send + 'static,
{
    Arc::new(ScriptedHandler(Box::new(move |context| Box::pin(run(context)))))
}

/// Everything around one worker.
pub(super) struct World {
    pub(super) broker: Arc<ScriptedBroker>,
    pub(super) coordinator: Arc<ScriptedCoordinator>,
    pub(super) shutdown: CancellationToken,
    folder: tempfile::TempDir,
}

impl World {
    pub(super) fn with_tasks(tasks: impl IntoIterator<Item = Task>) -> Self {
        Self::with_lease(tasks, TTL)
    }

    pub(super) fn with_lease(tasks: impl IntoIterator<Item = Task>, lease_ttl: Duration) -> Self {
        let broker = ScriptedBroker { ready: Mutex::new(tasks.into_iter().collect()), ..Default::default() };
        let coordinator = ScriptedCoordinator {
            lease_ttl,
            started: Instant::now(),
            welcomes: Answers::new(),
            hellos: Mutex::default(),
            claims: Answers::new(),
            directives: Answers::new(),
            reports: Answers::new(),
            claim_ids: Mutex::default(),
            kept: Answers::new(),
            lines: Mutex::default(),
            told: Mutex::default(),
            beats: Mutex::default(),
        };
        Self {
            broker: Arc::new(broker),
            coordinator: Arc::new(coordinator),
            shutdown: CancellationToken::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn scratch_root(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    pub(super) fn told(&self) -> Vec<String> {
        self.coordinator.told.lock().clone()
    }

    /// The messages of every call that told lines.
    pub(super) fn lines(&self) -> Vec<Vec<String>> {
        let message = |line: &LogLine| line.message.clone();
        self.coordinator.lines.lock().iter().map(|lines| lines.iter().map(message).collect()).collect()
    }

    pub(super) fn beats(&self) -> Vec<(Duration, Progress)> {
        self.coordinator.beats.lock().clone()
    }

    /// Waits until `count` calls that begin with `what` were made.
    pub(super) async fn until_told(&self, count: usize, what: &str) {
        while self.told().iter().filter(|call| call.starts_with(what)).count() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) fn start(
        &self,
        handler: Arc<dyn StageHandler>,
        slots: usize,
    ) -> JoinHandle<Result<(), WorkerError>> {
        self.start_with(handler, slots, self.coordinator.clone())
    }

    pub(super) fn start_with(
        &self,
        handler: Arc<dyn StageHandler>,
        slots: usize,
        coordinator: Arc<dyn Coordinator>,
    ) -> JoinHandle<Result<(), WorkerError>> {
        let options = WorkerOptions {
            slots,
            heartbeat_at_least_every: Duration::from_mins(1),
            ..WorkerOptions::new("test-worker", self.scratch_root()).unwrap()
        };
        let artifacts = ArtifactStore::new(Arc::new(InMemory::new()));
        let worker =
            run_worker(handler, self.broker.clone(), coordinator, artifacts, options, self.shutdown.clone());
        Tasks::new(CancellationToken::new()).spawn("test", worker)
    }

    /// Runs a worker until the queue is empty and its attempts ended.
    pub(super) async fn run(&self, handler: Arc<dyn StageHandler>) {
        let idle = Arc::new(parking_lot::Mutex::new(0_usize));
        let counted = Arc::new(Counted { inner: handler, running: idle.clone() });
        let running = self.start(counted, 1);
        // A second without work: every task was received, run and reported.
        let mut quiet = 0;
        while quiet < 12 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let busy = *idle.lock() > 0 || !self.broker.ready.lock().is_empty() || self.is_reporting();
            quiet = if busy { 0 } else { quiet + 1 };
        }
        self.shutdown.cancel();
        running.await.unwrap().unwrap();
    }

    /// Answers that are left mean that the worker still repeats a call.
    fn is_reporting(&self) -> bool {
        !self.coordinator.claims.0.lock().is_empty() || !self.coordinator.reports.0.lock().is_empty()
    }
}

/// Counts the attempts that run.
struct Counted {
    inner: Arc<dyn StageHandler>,
    running: Arc<parking_lot::Mutex<usize>>,
}

#[async_trait]
impl StageHandler for Counted {
    fn stage(&self) -> Stage {
        self.inner.stage()
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        struct Running(Arc<parking_lot::Mutex<usize>>);
        impl Drop for Running {
            fn drop(&mut self) {
                *self.0.lock() -= 1;
            }
        }
        *self.running.lock() += 1;
        let _running = Running(self.running.clone());
        self.inner.run(context).await
    }
}
