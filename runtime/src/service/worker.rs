//! The shape of a worker daemon: a worker loop for each handler over the broker and the coordinators.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use clara_lifecycle::id::InvalidName;
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Daemon, Service, ServiceArgs, ServiceError};
use crate::{
    artifacts::ArtifactStore,
    broker::Broker,
    config::{ByteSize, Layers, Settings},
    coordinator_client::{Coordinator, GrpcCoordinator, peers},
    daemon::instance,
    ports,
    task::Tasks,
    worker::StageHandler,
    worker_loop::{WorkerError, WorkerOptions, run_worker},
};

/// How often a person who watches sees something new.
const HEARTBEAT_AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// Worker daemons share machines, so each takes a port that is free.
const FREE_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Worker loops that run.
pub type WorkerLoops = FuturesUnordered<JoinHandle<Result<(), WorkerError>>>;

/// Flags that every worker daemon has.
#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// URL of the coordinator; several with commas between them
    #[arg(long, value_name = "URL", env = "CLARA_COORDINATOR")]
    coordinator: Option<String>,
    /// Attempts at the same time, for each stage [default: 1]
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// Memory of the GPU that each slot has, e.g. 80GiB [default: none]
    #[arg(long, value_name = "SIZE")]
    gpu_memory: Option<ByteSize>,
    /// Kind of that GPU, e.g. h100
    #[arg(long, value_name = "NAME")]
    gpu_kind: Option<String>,
    /// Processor cores that each slot has [default: those of the machine divided by the slots]
    #[arg(long, value_name = "N")]
    cpu_cores: Option<u32>,
    /// Serve only these resource classes, with commas between them [default: all that the resources allow]
    #[arg(long, value_name = "NAMES")]
    classes: Option<String>,
}

impl WorkerArgs {
    fn layers(&self) -> Layers {
        let flags = [
            ("worker.coordinator_url", "--coordinator", self.coordinator.clone()),
            ("worker.slots", "--slots", self.slots.map(|slots| slots.to_string())),
            ("worker.gpu_memory", "--gpu-memory", self.gpu_memory.map(|size| size.to_string())),
            ("worker.gpu_kind", "--gpu-kind", self.gpu_kind.clone()),
            ("worker.cpu_cores", "--cpu-cores", self.cpu_cores.map(|cores| cores.to_string())),
            ("worker.classes", "--classes", self.classes.clone()),
        ];
        let mut layers = self.service.layers();
        for (key, flag, value) in flags {
            if let Some(value) = value {
                layers = layers.with_flag(key, value, flag);
            }
        }
        layers
    }
}

/// What worker loops work with.
#[derive(Debug, Clone)]
pub struct WorkerPorts {
    /// Where tasks come from.
    pub broker: Arc<dyn Broker>,
    /// Where claims and reports go.
    pub coordinator: Arc<dyn Coordinator>,
    /// Where artifacts are.
    pub artifacts: ArtifactStore,
}

/// What a worker daemon works with.
pub type Equipment = (Vec<Arc<dyn StageHandler>>, WorkerPorts);

/// Runs a worker daemon with `handlers` until a signal comes; it does not start when those cannot be made.
pub fn run_workers(
    name: &'static str,
    args: &WorkerArgs,
    handlers: impl FnOnce(&Settings) -> Result<Vec<Arc<dyn StageHandler>>, ServiceError>,
) -> ExitCode {
    run_workers_over(name, args, |settings, ports| Ok((handlers(settings)?, ports)))
}

/// As [`run_workers`], with handlers made for the ports, and over ports that `equip` may put something around.
pub fn run_workers_over(
    name: &'static str,
    args: &WorkerArgs,
    equip: impl FnOnce(&Settings, WorkerPorts) -> Result<Equipment, ServiceError>,
) -> ExitCode {
    let daemon = Daemon { name, checks: &["artifacts", "broker", "coordinator"], http: |_| FREE_PORT };
    super::run(daemon, &args.layers(), args.service.print_settings, |service| async move {
        work(name, &service, equip).await
    })
}

async fn work(
    name: &str,
    service: &Service,
    equip: impl FnOnce(&Settings, WorkerPorts) -> Result<Equipment, ServiceError>,
) -> Result<(), ServiceError> {
    let Service { settings, health, tasks, drain, pages: _ } = service;
    if settings.broker.url.is_none() {
        tracing::warn!(
            "broker.url is not set: {name} takes tasks from {} alone and sees none that coordinators send over RabbitMQ",
            settings.home.display()
        );
    }
    let url = settings.worker.coordinator_url.clone();
    let coordinator = Arc::new(GrpcCoordinator::new(&url, tasks)?);
    service.watch("coordinator", move || reachable(url.clone()));
    let artifacts = ArtifactStore::local(settings.artifact_folder())?;
    health.set("artifacts", Ok(()));
    let broker = ports::broker(settings, tasks, health, drain).await;
    if drain.is_cancelled() {
        return Ok(());
    }
    let broker = broker?;
    service.watch_broker(&broker);
    let (handlers, ports) = equip(settings, WorkerPorts { broker, coordinator, artifacts })?;
    let workers = Tasks::new(drain.clone());
    let loops = spawn_workers(name, handlers, &ports, settings, &workers)?;
    join_workers(loops, drain).await
}

/// Starts a worker loop for each handler; the loops belong to `tasks` and drain when its shutdown begins.
///
/// # Errors
/// When `name` cannot be part of a worker's id, or the settings name a class that cannot be one.
pub fn spawn_workers(
    name: &str,
    handlers: Vec<Arc<dyn StageHandler>>,
    ports: &WorkerPorts,
    settings: &Settings,
    tasks: &Tasks,
) -> Result<WorkerLoops, InvalidName> {
    let start = |handler: Arc<dyn StageHandler>| {
        let kind = format!("{name}-{}", handler.stage());
        let options = WorkerOptions {
            worker_id: format!("{kind}-{}", instance().simple()).parse()?,
            slots: settings.worker.slots,
            resources: settings.worker.resources(),
            classes: settings.worker.class_names()?,
            drain_within: settings.worker.drain_within.0,
            heartbeat_at_least_every: HEARTBEAT_AT_LEAST_EVERY,
            ..WorkerOptions::new(&kind, settings.scratch_folder())?
        };
        let WorkerPorts { broker, coordinator, artifacts } = ports.clone();
        let shutdown = tasks.shutdown().clone();
        let work = run_worker(handler, broker, coordinator, artifacts, options, shutdown);
        Ok(tasks.spawn("worker", work))
    };
    handlers.into_iter().map(start).collect()
}

/// Waits for worker loops. The first one that cannot go on lets the others save their work and end.
///
/// # Errors
/// Why the first loop could not go on.
pub async fn join_workers(mut loops: WorkerLoops, drain: &CancellationToken) -> Result<(), ServiceError> {
    let mut ended = Ok(());
    while let Some(end) = loops.next().await {
        let end = end.map_err(ServiceError::from).and_then(|end| end.map_err(ServiceError::from));
        if end.is_err() {
            drain.cancel();
            ended = ended.and(end);
        }
    }
    ended
}

/// Whether one of the coordinators takes connections.
async fn reachable(urls: String) -> Result<(), String> {
    let mut failed = Vec::new();
    for url in peers::urls(&urls) {
        match connect(url).await {
            Ok(_) => return Ok(()),
            Err(reason) => failed.push(format!("{url}: {reason}")),
        }
    }
    Err(failed.join("; "))
}

async fn connect(url: &str) -> Result<TcpStream, String> {
    let uri: axum::http::Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let host = uri.host().ok_or("it names no host")?.trim_matches(['[', ']']);
    TcpStream::connect((host, port)).await.map_err(|error| error.to_string())
}
