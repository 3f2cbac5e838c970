//! The coordinator as a daemon: its services, and the workers of the stages that only decide.

use std::sync::Arc;

use clara_runtime::{
    coordinator_client::GrpcCoordinator,
    ports::Ports,
    service::{Daemon, Service, ServiceError, WorkerPorts, join_workers, spawn_workers},
    task::Tasks,
};

use crate::{Coordinator, CoordinatorOptions};

/// The daemon `coordinator`.
pub const DAEMON: Daemon = Daemon {
    name: "coordinator",
    checks: &["artifacts", "broker", "state"],
    http: |settings| settings.serve.http_address,
};

/// Serves until the drain begins; the workers of gate and rollout end first.
///
/// # Errors
/// When a port cannot be used or the address cannot be listened on.
pub async fn work(service: Service) -> Result<(), ServiceError> {
    work_over(service, |ports| ports).await
}

/// As [`work`], over ports that `wrap` may put something around.
///
/// # Errors
/// As [`work`].
pub async fn work_over(service: Service, wrap: impl FnOnce(Ports) -> Ports) -> Result<(), ServiceError> {
    let started = serve_over(&service, wrap).await;
    // Told to end while it waited for a server: there is nothing to save.
    if service.drain.is_cancelled() {
        return Ok(());
    }
    let (coordinator, ports) = started?;
    let workers = Tasks::new(service.drain.clone());
    let loops = spawn_workers(DAEMON.name, coordinator.handlers(), &ports, &service.settings, &workers)?;
    join_workers(loops, &service.drain).await
}

/// Opens the ports and starts the services; they end with the daemon. Answers what workers in this process need.
///
/// # Errors
/// When a port cannot be used or the address cannot be listened on.
pub async fn serve(service: &Service) -> Result<WorkerPorts, ServiceError> {
    serve_over(service, |ports| ports).await.map(|(_, ports)| ports)
}

async fn serve_over(
    service: &Service,
    wrap: impl FnOnce(Ports) -> Ports,
) -> Result<(Coordinator, WorkerPorts), ServiceError> {
    let Service { settings, health, tasks, drain, pages } = service;
    let Ports { state, broker, artifacts } = wrap(Ports::open(settings, tasks, health, drain).await?);
    service.watch_broker(&broker);
    service.watch_state(&state);
    let options = CoordinatorOptions {
        health: health.clone(),
        ..CoordinatorOptions::of(settings, settings.serve.grpc_address)
    };
    let coordinator =
        Coordinator::start(options, state, Arc::clone(&broker), artifacts.clone(), tasks).await?;
    if let Some(shown) = coordinator.pages(settings.serve.pages) {
        pages.show(shown);
    }
    health.set("artifacts", Ok(()));
    let url = format!("http://{}", coordinator.address());
    tracing::info!("coordinator serves workers and users at {url}");
    let workers = Arc::new(GrpcCoordinator::new(&url, tasks)?);
    let ports = WorkerPorts { broker, coordinator: workers, artifacts };
    Ok((coordinator, ports))
}
