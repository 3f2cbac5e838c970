//! For trials of faults: a coordinator without sockets, killed at any await, and what users do over a state store.

use std::sync::Arc;

use clara_lifecycle::{
    golden::GoldenDataset,
    id::JobId,
    job::{Job, JobEvent, LeaseTerms},
    spec::JobSpec,
    time::Timestamp,
};
use clara_proto::v1::worker_service_server::WorkerServiceServer;
use clara_runtime::{
    artifacts::ArtifactStore,
    broker::Broker,
    coordinator_client::{self, GrpcCoordinator},
    state::StateStore,
    task::Tasks,
};
use tokio_util::sync::CancellationToken;

use crate::{
    driver::{Driver, DriverError},
    outbox::{self, Relay},
    reaper,
    records::{from_json, job_stream},
    scheduler::{self, Schedule},
    submit::Submission,
    worker_service::Workers,
};

/// What users do and see, straight over a state store; tasks that follow are published by coordinators that run.
#[derive(Debug, Clone)]
pub struct Users {
    driver: Driver,
}

impl Users {
    /// Users of the coordinators over `state`.
    pub fn over(state: Arc<dyn StateStore>) -> Self {
        Self { driver: Driver::new(state, Schedule::default()) }
    }

    /// What they do to jobs goes through it.
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// The state store.
    pub fn state(&self) -> &Arc<dyn StateStore> {
        &self.driver.records.state
    }

    /// Submits a job as the control service does.
    ///
    /// # Errors
    /// As the control service.
    pub async fn submit(&self, spec: JobSpec) -> Result<Option<Job>, DriverError> {
        Ok(self.driver.submit(spec, None, Submission::New).await?.job)
    }

    /// Creates and freezes a golden dataset.
    ///
    /// # Errors
    /// When a port fails or the dataset is not sound.
    pub async fn freeze(&self, dataset: GoldenDataset, artifacts: &ArtifactStore) -> Result<(), DriverError> {
        let id = dataset.dataset_id.clone();
        self.driver.put_golden(dataset, false).await?;
        self.driver.freeze_golden(&id, "simulation", artifacts).await.map(drop)
    }

    /// A job.
    ///
    /// # Errors
    /// When the store fails or the job is not known.
    pub async fn job(&self, job: &JobId) -> Result<Job, DriverError> {
        Ok(self.driver.records.job(job).await?.value)
    }

    /// A job, and everything that its log tells of it.
    ///
    /// # Errors
    /// When the store fails or the job is not known.
    pub async fn job_and_events(
        &self,
        job: &JobId,
    ) -> Result<(Job, Vec<(Timestamp, JobEvent)>), DriverError> {
        let stream = job_stream(job);
        let stored = self.state().events(&stream, 0, usize::MAX).await?;
        let mut events = Vec::with_capacity(stored.len());
        for event in stored {
            events.push((event.at, from_json(&stream, &event.body)?));
        }
        Ok((self.job(job).await?, events))
    }
}

/// A running coordinator. Cancelling the shutdown of its tasks is a kill: they are dropped where they wait.
#[derive(Debug)]
pub struct SimulatedCoordinator {
    users: Users,
    workers: Arc<dyn coordinator_client::Coordinator>,
}

impl SimulatedCoordinator {
    /// Starts the relay, the scheduler and the reaper over two ports.
    pub fn start(
        name: &str,
        (lease, schedule): (LeaseTerms, Schedule),
        state: Arc<dyn StateStore>,
        broker: Arc<dyn Broker>,
        tasks: &Tasks,
    ) -> Self {
        let (relay, committed) = Relay::new();
        let driver = Driver { relay: Some(relay), ..Driver::new(Arc::clone(&state), schedule) };
        // Nothing ends in order here.
        let never = CancellationToken::new();
        let shutdown = never.clone();
        let relaying = outbox::relay(state, Arc::clone(&broker), committed, never.clone());
        tasks.spawn_until_shutdown("coordinator.relay", relaying);
        let scheduling = scheduler::schedule(driver.clone(), never.clone());
        tasks.spawn_until_shutdown("coordinator.schedule", scheduling);
        let reaping = reaper::reap(driver.clone(), broker, never);
        tasks.spawn_until_shutdown("coordinator.reap", reaping);
        let service = WorkerServiceServer::new(Workers { driver: driver.clone(), terms: lease, shutdown });
        let workers = Arc::new(GrpcCoordinator::in_process(name, service));
        Self { users: Users { driver }, workers }
    }

    /// The coordinator as workers see it, over the wire format but without a wire.
    pub fn workers(&self) -> Arc<dyn coordinator_client::Coordinator> {
        Arc::clone(&self.workers)
    }

    /// Its users.
    pub fn users(&self) -> &Users {
        &self.users
    }
}
