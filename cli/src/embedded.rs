//! Coordinator and workers inside this process, over one SQLite file and one artifact folder.

mod check;
mod judge;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clara_coordinator::{Coordinator, CoordinatorOptions};
use clara_gpu_worker::{
    devices::Devices,
    generate::{GenerateConfig, GenerateHandler},
    model_cache::ModelCache,
    train::handler::{TrainConfig, TrainHandler},
};
use clara_ingest_worker::IngestHandler;
use clara_runtime::{
    artifacts::ArtifactStore,
    broker::Broker,
    config::{PageAudience, Settings},
    coordinator_client::GrpcCoordinator,
    health::Health,
    ports::Ports,
    service::{WorkerPorts, join_workers, spawn_workers},
    task::Tasks,
};
use tokio_util::sync::CancellationToken;

use judge::OwnJudge;

pub(crate) use check::{Surroundings, can_write};

/// How long the coordinator may take to end after its workers did.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Which workers run beside the coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workers {
    /// None: records can be read and changed, jobs stay where they are.
    None,
    /// Those that finish a job after a review.
    Decision,
    /// All.
    All,
}

/// A coordinator with workers in this process.
#[derive(Debug)]
pub(crate) struct Embedded {
    settings: Settings,
    broker: Arc<dyn Broker>,
    artifacts: ArtifactStore,
    coordinator: Coordinator,
    services: Tasks,
    workers: Tasks,
}

impl Embedded {
    /// Starts the coordinator; `interrupt` lets the workers drain, the coordinator outlives them.
    pub(crate) async fn start(
        settings: &Settings,
        listen: SocketAddr,
        interrupt: &CancellationToken,
    ) -> Result<Self> {
        let home = &settings.home;
        std::fs::create_dir_all(home).with_context(|| {
            format!("cannot make the home folder {}; choose another one with --home", home.display())
        })?;
        let services = Tasks::new(CancellationToken::new());
        let Ports { state, broker, artifacts } =
            Ports::open(settings, &services, &Health::default(), interrupt).await?;
        let options = CoordinatorOptions {
            check: Some(Arc::new(Surroundings::new(home.clone(), settings.sources.clone()))),
            ..CoordinatorOptions::of(settings, listen)
        };
        let coordinator =
            Coordinator::start(options, state, Arc::clone(&broker), artifacts.clone(), &services).await?;
        let workers = Tasks::new(interrupt.child_token());
        Ok(Self { settings: settings.clone(), broker, artifacts, coordinator, services, workers })
    }

    /// Where the coordinator listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.coordinator.address())
    }

    /// The web page and the REST interface.
    pub(crate) fn pages(&self, audience: PageAudience) -> Option<axum::Router> {
        self.coordinator.pages(audience)
    }

    /// The tasks that outlive the workers.
    pub(crate) fn services(&self) -> &Tasks {
        &self.services
    }

    /// Starts worker loops.
    pub(crate) fn start_workers(&mut self, which: Workers) -> Result<()> {
        let mut handlers = Vec::new();
        if which != Workers::None {
            handlers.extend(self.coordinator.handlers());
        }
        if which == Workers::All {
            let models = ModelCache::on(Devices::open(self.settings.worker.device)?);
            handlers.push(Arc::new(IngestHandler::new(self.settings.sources.clone())));
            let train = TrainConfig {
                models: models.clone(),
                memory_limit: self.settings.worker.memory_limit_bytes(),
            };
            handlers.push(Arc::new(TrainHandler::new(train)));
            let generate = GenerateConfig { models: models.clone(), ..GenerateConfig::default() };
            handlers.push(Arc::new(GenerateHandler::new(generate)));
            handlers.push(Arc::new(OwnJudge::new(&self.settings.judge, models)));
        }
        let coordinator = Arc::new(GrpcCoordinator::new(&self.url(), &self.services)?);
        let ports =
            WorkerPorts { broker: Arc::clone(&self.broker), coordinator, artifacts: self.artifacts.clone() };
        let loops = spawn_workers("clara", handlers, &ports, &self.settings, &self.workers)?;
        let workers = self.workers.clone();
        self.services.spawn("workers", async move {
            if let Err(error) = join_workers(loops, workers.shutdown()).await {
                tracing::error!("{error}");
            }
        });
        Ok(())
    }

    /// Lets the workers save their work and hand it back, then ends the coordinator.
    pub(crate) async fn stop(self) {
        let drained = self.workers.finish(self.settings.worker.drain_within.0 + END_WITHIN).await;
        if !drained {
            tracing::warn!("a worker did not end in time; its attempt is repeated when its lease is over");
        }
        self.services.finish(END_WITHIN).await;
    }
}
