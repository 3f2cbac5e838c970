//! The worker loop: receive a task, claim it, run it under a lease, report; until it is told to drain.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clara_lifecycle::{
    id::{ClassName, InvalidName, WorkerId},
    resources::Resources,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    artifacts::ArtifactStore,
    backoff::Backoff,
    broker::{Broker, BrokerError, Delivery},
    coordinator_client::{Claim, ClaimAnswer, ClaimedAttempt, Coordinator},
    metrics::{self, OpenSlot},
    task::Tasks,
    worker::StageHandler,
};
use attempt::Attempt;
use greeter::{Greeter, Served};
use scratch::Scratch;

pub use greeter::{GREET_EVERY, IntroductionError};

mod attempt;
mod greeter;
mod heartbeat;
mod log_sender;
mod milestones;
mod report;
mod scratch;
#[cfg(test)]
mod tests;

/// How long one look into the queue takes; a drain waits for it to end.
const RECEIVE_WAIT: Duration = Duration::from_secs(1);

/// How long a claim is repeated; less than the time for which the delivery is the worker's (30 s).
const CLAIM_WITHIN: Duration = Duration::from_secs(20);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Fresh per start of the worker, see [`fresh_worker_id`].
    pub worker_id: WorkerId,
    /// Attempts at the same time, at least 1.
    pub slots: usize,
    /// What it has for each of them; decides which resource classes it serves.
    pub resources: Resources,
    /// It serves only these of them; empty for all.
    pub classes: Vec<ClassName>,
    /// Where scratch folders are made. Workers that run side by side may share it.
    pub scratch_root: PathBuf,
    /// How long a running attempt may take to save its work after the shutdown began.
    pub drain_within: Duration,
    /// Heartbeats come every third of the lease, and at least this often, for a person who watches.
    pub heartbeat_at_least_every: Duration,
}

impl WorkerOptions {
    /// One slot without a GPU, 30 s to drain, a heartbeat at least every 5 s, and a fresh id for a worker of `kind`.
    ///
    /// # Errors
    /// [`InvalidName`] when `kind` is not made of small letters, digits and hyphens.
    pub fn new(kind: &str, scratch_root: impl Into<PathBuf>) -> Result<Self, InvalidName> {
        Ok(Self {
            worker_id: fresh_worker_id(kind)?,
            slots: 1,
            resources: Resources::default(),
            classes: Vec::new(),
            scratch_root: scratch_root.into(),
            drain_within: Duration::from_secs(30),
            heartbeat_at_least_every: Duration::from_secs(5),
        })
    }
}

/// A worker id that no other start of a worker has, e.g. `gpu-worker-train-0198c1…`.
///
/// # Errors
/// [`InvalidName`] when `kind` is not made of small letters, digits and hyphens.
pub fn fresh_worker_id(kind: &str) -> Result<WorkerId, InvalidName> {
    format!("{kind}-{}", Uuid::now_v7().simple()).parse()
}

/// Why a worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// There is no place for scratch files.
    #[error(
        "worker {worker} cannot use {path} for scratch files: {source}; correct worker.scratch or make room"
    )]
    Scratch {
        /// The worker.
        worker: WorkerId,
        /// The folder.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// No further attempt can succeed in its process.
    #[error("worker {worker} takes no more tasks: {reason}")]
    Unusable {
        /// The worker.
        worker: WorkerId,
        /// What its handler says.
        reason: String,
    },
    /// It cannot work with the coordinator.
    #[error(transparent)]
    Introduction(#[from] IntroductionError),
}

/// What the slots of a worker share.
#[derive(Clone)]
struct Worker {
    handler: Arc<dyn StageHandler>,
    broker: Arc<dyn Broker>,
    coordinator: Arc<dyn Coordinator>,
    artifacts: ArtifactStore,
    options: Arc<WorkerOptions>,
    scratch: Arc<Scratch>,
    served: Served,
    tasks: Tasks,
}

/// Carries out tasks of the handler's stage until `shutdown` is cancelled; then takes no new ones, tells running
/// attempts to save their work, hands them back and ends.
///
/// Outages of broker and coordinator are waited out.
///
/// # Errors
/// [`WorkerError`] when there is no place for scratch files, worker and coordinator share no protocol version, or the handler
/// became unusable.
pub async fn run_worker(
    handler: Arc<dyn StageHandler>,
    broker: Arc<dyn Broker>,
    coordinator: Arc<dyn Coordinator>,
    artifacts: ArtifactStore,
    options: WorkerOptions,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let scratch = Scratch::open(&options.scratch_root, &options.worker_id).map_err(|source| {
        WorkerError::Scratch { worker: options.worker_id.clone(), path: options.scratch_root.clone(), source }
    })?;
    let stage = handler.stage();
    let greeter = Greeter::new(Arc::clone(&coordinator), stage, &options);
    let Some(queues) = shutdown.run_until_cancelled(greeter.introduce()).await else { return Ok(()) };
    let (change_served, served) = watch::channel(queues?);
    let tasks = Tasks::new(shutdown);
    tasks.spawn_until_shutdown("worker.greet", greeter.keep(change_served));
    metrics::worker_started(stage);
    let worker = Worker {
        handler,
        broker,
        coordinator,
        artifacts,
        options: Arc::new(options),
        scratch: Arc::new(scratch),
        served,
        tasks,
    };
    let id = worker.options.worker_id.clone();
    let slots = (0..worker.options.slots.max(1)).map(|_| {
        let slot = worker.clone();
        worker.tasks.spawn("worker.slot", async move { slot.work().await })
    });
    // A panic in a slot is logged by its task and ends that slot alone.
    drop(futures::future::join_all(slots.collect::<Vec<_>>()).await);
    tracing::info!(worker.id = %id, %stage, "worker {id} ended");
    match worker.handler.unusable() {
        Some(reason) => Err(WorkerError::Unusable { worker: id, reason }),
        None => Ok(()),
    }
}

impl Worker {
    fn is_draining(&self) -> bool {
        self.tasks.shutdown().is_cancelled()
    }

    /// Waits, but not beyond the beginning of a drain.
    async fn pause(&self, duration: Duration) {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            () = self.tasks.shutdown().cancelled() => {}
        }
    }

    async fn work(&self) {
        let mut served = self.served.clone();
        let mut outage = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));
        let mut open = None;
        while !self.is_draining() && self.handler.unusable().is_none() {
            if served.has_changed().unwrap_or_default() {
                open = None;
            }
            let queues = Arc::clone(&served.borrow_and_update());
            if queues.is_empty() {
                if let Some(Err(_)) = self.tasks.shutdown().run_until_cancelled(served.changed()).await {
                    // Nobody learns any more what to serve.
                    self.tasks.shutdown().cancelled().await;
                }
                continue;
            }
            match self.broker.receive(&queues, RECEIVE_WAIT).await {
                Ok(delivery) => {
                    outage.reset();
                    open.get_or_insert_with(|| OpenSlot::of(&queues));
                    if let Some(delivery) = delivery {
                        self.take(delivery).await;
                    }
                }
                Err(BrokerError::Malformed { queue, reason }) => {
                    metrics::task_malformed(&queue);
                    tracing::error!("{}", BrokerError::Malformed { queue, reason });
                }
                Err(error) => {
                    open = None;
                    let wait = outage.next_wait();
                    tracing::warn!(retry_in_ms = wait.as_millis(), "no tasks: {error}");
                    self.pause(wait).await;
                }
            }
        }
    }

    /// Claims what was delivered and carries it out.
    async fn take(&self, delivery: Delivery) {
        let stage = self.handler.stage();
        if self.is_draining() || self.handler.unusable().is_some() {
            return self.give_back(&delivery).await;
        }
        let claim = Claim {
            task: delivery.task.clone(),
            worker: self.options.worker_id.clone(),
            claim_id: Uuid::new_v4().to_string(),
        };
        let Some((answer, asked_at)) = self.claim(&claim).await else {
            return self.give_back(&delivery).await;
        };
        let acknowledged = async {
            // Unacknowledged, the task comes again and its claim is refused: that costs little and loses nothing.
            if let Err(error) = self.broker.acknowledge(&delivery).await {
                tracing::debug!("a claimed task could not be acknowledged: {error}");
            }
        };
        match answer {
            ClaimAnswer::Refused { reason } => {
                acknowledged.await;
                metrics::claim_refused(stage);
                let job = &delivery.task.job;
                tracing::debug!(job.id = %job, %stage, "a task of job {job} is no longer wanted: {reason}");
            }
            ClaimAnswer::Granted { assignment, lease_ttl } => {
                let name = ClaimedAttempt::of(&assignment);
                let attempt = Attempt::new(self, name, lease_ttl, asked_at);
                futures::join!(acknowledged, attempt.carry_out(*assignment));
            }
        }
    }

    /// Claims until there is an answer; also tells when the answered call began, since the lease runs from there.
    async fn claim(&self, claim: &Claim) -> Option<(ClaimAnswer, Instant)> {
        let give_up = Instant::now() + CLAIM_WITHIN;
        let mut outage = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            let asked_at = Instant::now();
            let error = match tokio::time::timeout_at(give_up, self.coordinator.claim(claim)).await {
                Ok(Ok(answer)) => return Some((answer, asked_at)),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".to_owned(),
            };
            let wait = outage.next_wait();
            let job = &claim.task.job;
            if self.is_draining() || Instant::now() + wait >= give_up {
                tracing::warn!(job.id = %job, "could not claim a task of job {job}, so it goes back: {error}");
                return None;
            }
            tracing::debug!(job.id = %job, "claiming again: {error}");
            self.pause(wait).await;
        }
    }

    async fn give_back(&self, delivery: &Delivery) {
        if let Err(error) = self.broker.release(delivery).await {
            tracing::debug!("a task could not be given back and comes again by itself: {error}");
        }
    }
}
