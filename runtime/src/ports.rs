//! The two ports and the artifact store as the settings name them: embedded, or Redis and RabbitMQ.

use std::{future::Future, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    artifacts::{ArtifactError, ArtifactStore},
    broker::{
        Broker, BrokerError,
        amqp::{AmqpBroker, AmqpOptions},
        sqlite::SqliteBroker,
    },
    config::Settings,
    health::Health,
    state::{StateError, StateStore, sqlite::SqliteState},
    task::Tasks,
};

use crate::state::redis::{RedisOptions, RedisState};

/// How long to wait before a server that is not there is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What a process works with.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Jobs, registry, golden datasets.
    pub state: Arc<dyn StateStore>,
    /// Tasks.
    pub broker: Arc<dyn Broker>,
    /// Stored bytes.
    pub artifacts: ArtifactStore,
}

/// Why the ports could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    /// The state store cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The broker cannot be used.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The artifact store cannot be used.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

impl Ports {
    /// Opens all three. Servers that are not there yet are waited for, and told about, until `interrupt` is
    /// cancelled; what the servers need of this process is some of `tasks`.
    ///
    /// # Errors
    /// [`PortsError`] when one cannot be used, or is still not there when the wait is interrupted.
    pub async fn open(
        settings: &Settings,
        tasks: &Tasks,
        health: &Health,
        interrupt: &CancellationToken,
    ) -> Result<Self, PortsError> {
        let state = state(settings, tasks, health, interrupt).await?;
        let broker = broker(settings, tasks, health, interrupt).await?;
        let artifacts = ArtifactStore::local(settings.artifact_folder())?;
        Ok(Self { state, broker, artifacts })
    }
}

/// Opens the state store that the settings name.
async fn state(
    settings: &Settings,
    tasks: &Tasks,
    health: &Health,
    interrupt: &CancellationToken,
) -> Result<Arc<dyn StateStore>, StateError> {
    let Some(url) = &settings.state.url else {
        return Ok(Arc::new(SqliteState::open(settings.state_file())?));
    };
    let options = RedisOptions { tls: settings.state.tls(), ..RedisOptions::new(url.clone()) };
    let connect = || RedisState::connect(&options, tasks);
    let tell = |reason| health.set("state", Err(reason));
    Ok(Arc::new(patiently(connect, StateError::is_retryable, tell, interrupt).await?))
}

/// Opens the broker that the settings name; waits for its server as [`Ports::open`] does.
///
/// # Errors
/// [`BrokerError`] when it cannot be used, or is still not there when the wait is interrupted.
pub async fn broker(
    settings: &Settings,
    tasks: &Tasks,
    health: &Health,
    interrupt: &CancellationToken,
) -> Result<Arc<dyn Broker>, BrokerError> {
    let Some(url) = &settings.broker.url else {
        return Ok(Arc::new(SqliteBroker::open(settings.state_file())?));
    };
    let options = AmqpOptions { tls: settings.broker.tls(), ..AmqpOptions::new(url.clone()) };
    let connect = || AmqpBroker::connect(&options, tasks);
    let tell = |reason| health.set("broker", Err(reason));
    Ok(Arc::new(patiently(connect, BrokerError::is_retryable, tell, interrupt).await?))
}

/// Repeats `connect` while the error is worth it, and tells it.
async fn patiently<T, E, F>(
    connect: impl Fn() -> F,
    is_retryable: impl Fn(&E) -> bool,
    tell: impl Fn(String),
    interrupt: &CancellationToken,
) -> Result<T, E>
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    loop {
        match connect().await {
            Err(error) if is_retryable(&error) && !interrupt.is_cancelled() => {
                tracing::warn!("waiting: {error}");
                tell(error.to_string());
                tokio::select! {
                    () = interrupt.cancelled() => return Err(error),
                    () = tokio::time::sleep(AGAIN_AFTER) => {}
                }
            }
            outcome => return outcome,
        }
    }
}
