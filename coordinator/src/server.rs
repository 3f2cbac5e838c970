//! A coordinator: gRPC services, outbox relay and reaper over two ports and the artifact store.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use clara_lifecycle::{id::TargetName, job::LeaseTerms, resources::ResourceClass};
use clara_proto::v1::{
    control_service_server::ControlServiceServer, worker_service_server::WorkerServiceServer,
};
use clara_runtime::{
    artifacts::ArtifactStore,
    broker::Broker,
    config::{CalibrationSettings, PageAudience, RegistrySettings, Settings, TargetSettings, TenantSettings},
    grpc,
    health::Health,
    state::StateStore,
    task::Tasks,
    worker::StageHandler,
};
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};

use crate::{
    control_service::Control,
    driver::Driver,
    outbox::{self, Relay},
    reaper,
    registry::{RegistryPolicy, signature::SignatureError},
    review::Reviews,
    rollout::{self, RolloutHandler, Rollouts, Targets},
    scheduler::{self, Schedule, Share},
    stages::GateHandler,
    submit::SubmissionCheck,
    web,
    worker_service::Workers,
};

/// Documents such as evaluations travel in one message; the default of 4 MiB is too small for them.
pub(crate) const LARGEST_MESSAGE_BYTES: usize = 64 << 20;

/// How often open connections are probed, so that those who follow a job and are gone are noticed.
const PROBE_EVERY: Duration = Duration::from_secs(20);

/// How a coordinator works.
#[derive(Debug, Clone)]
pub struct CoordinatorOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long leases last.
    pub lease: LeaseTerms,
    /// How many jobs go on at the same time, and who comes first.
    pub schedule: Schedule,
    /// Resource classes that jobs may ask for.
    pub classes: Vec<ResourceClass>,
    /// When a judge counts as calibrated.
    pub calibration: CalibrationSettings,
    /// Looks at what only the surroundings know before a job is accepted.
    pub check: Option<Arc<dyn SubmissionCheck>>,
    /// Who may approve versions, and how they are signed.
    pub registry: RegistrySettings,
    /// What health over gRPC tells.
    pub health: Health,
    /// Servers that versions are rolled out to.
    pub targets: BTreeMap<TargetName, TargetSettings>,
}

/// Why a coordinator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen at {address}: {source}; choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What failed.
        source: std::io::Error,
    },
    /// The key that signs versions cannot be used.
    #[error(transparent)]
    SigningKey(#[from] SignatureError),
    /// A rollout target cannot be used.
    #[error("{0}")]
    Targets(String),
}

impl CoordinatorOptions {
    /// What the settings say, for a coordinator at `listen`.
    pub fn of(settings: &Settings, listen: SocketAddr) -> Self {
        let Settings { lease, scheduler, .. } = settings;
        let share = |TenantSettings { weight, max_active_jobs }: &TenantSettings| Share {
            weight: *weight,
            max_active_jobs: max_active_jobs.unwrap_or(scheduler.max_active_jobs_per_tenant),
        };
        let shares = settings.tenants.iter().map(|(tenant, settings)| (tenant.clone(), share(settings)));
        let named = settings.classes.iter().map(|(name, class)| class.class(name));
        Self {
            listen,
            lease: LeaseTerms { ttl: lease.ttl.0, progress_within: lease.progress_deadline.0 },
            schedule: Schedule {
                max_active_jobs: scheduler.max_active_jobs,
                max_active_jobs_per_tenant: scheduler.max_active_jobs_per_tenant,
                shares: shares.collect(),
            },
            classes: std::iter::once(ResourceClass::default_class()).chain(named).collect(),
            calibration: settings.calibration,
            check: None,
            registry: settings.registry.clone(),
            health: Health::default(),
            targets: settings.targets.clone(),
        }
    }
}

/// A running coordinator; its tasks belong to the owner that it was started with.
#[derive(Debug)]
pub struct Coordinator {
    address: SocketAddr,
    control: Control,
}

impl Coordinator {
    /// Starts the services, the relay and the reaper.
    ///
    /// # Errors
    /// [`StartError`] when the address cannot be listened on, or the signing key or a rollout target cannot be used.
    pub async fn start(
        options: CoordinatorOptions,
        state: Arc<dyn StateStore>,
        broker: Arc<dyn Broker>,
        artifacts: ArtifactStore,
        tasks: &Tasks,
    ) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { address: options.listen, source };
        let registry = RegistryPolicy::of(&options.registry)?;
        let variable = |name: &str| std::env::var(name).ok();
        let targets = Targets::open(&options.targets, variable).map_err(StartError::Targets)?;
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (relay, committed) = Relay::new();
        let driver = Driver {
            relay: Some(relay),
            targets: Arc::new(targets),
            classes: options.classes.into(),
            calibration: options.calibration,
            registry: Arc::new(registry),
            ..Driver::new(Arc::clone(&state), options.schedule)
        };
        let rollouts = Rollouts::new(driver.clone(), artifacts.clone());
        rollout::watch(&rollouts, tasks);
        let workers =
            Workers { driver: driver.clone(), terms: options.lease, shutdown: tasks.shutdown().clone() };
        let workers = WorkerServiceServer::new(workers);
        let control = Control {
            driver: driver.clone(),
            broker: Arc::clone(&broker),
            reviews: Reviews::new(driver.clone(), artifacts.clone()),
            artifacts,
            check: options.check,
            tasks: tasks.clone(),
            rollouts,
        };
        let calls = ControlServiceServer::new(control.clone());
        let server = Server::builder()
            .http2_keepalive_interval(Some(PROBE_EVERY))
            .add_routes(grpc::routes(&options.health, tasks.shutdown()))
            .add_service(workers.max_decoding_message_size(LARGEST_MESSAGE_BYTES))
            .add_service(
                calls
                    .max_decoding_message_size(LARGEST_MESSAGE_BYTES)
                    .max_encoding_message_size(LARGEST_MESSAGE_BYTES),
            )
            .serve_with_incoming_shutdown(
                // Answers are small and must not wait for each other.
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                tasks.shutdown().clone().cancelled_owned(),
            );
        tasks.spawn("coordinator.serve", async move {
            if let Err(error) = server.await {
                tracing::error!("the coordinator stopped serving: {error}");
            }
        });
        let shutdown = tasks.shutdown().clone();
        tasks.spawn(
            "coordinator.relay",
            outbox::relay(state, Arc::clone(&broker), committed, shutdown.clone()),
        );
        tasks.spawn("coordinator.schedule", scheduler::schedule(driver.clone(), shutdown.clone()));
        tasks.spawn("coordinator.reap", reaper::reap(driver, broker, shutdown));
        Ok(Self { address, control })
    }

    /// The handlers of the stages that only decide and roll out: they need no machine of their own.
    pub fn handlers(&self) -> Vec<Arc<dyn StageHandler>> {
        vec![Arc::new(GateHandler), Arc::new(RolloutHandler::new(self.control.rollouts.clone()))]
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The web page and the REST interface for `audience`; nothing for nobody. To be shown by the listener for health
    /// and metrics.
    pub fn pages(&self, audience: PageAudience) -> Option<axum::Router> {
        web::router(&self.control, audience)
    }
}
