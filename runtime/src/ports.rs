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
    let (tls, prefix) = (settings.state.tls(), settings.state.prefix.clone());
    let options = RedisOptions { tls, prefix, ..RedisOptions::new(url.clone()) };
    let connect = || RedisState::connect(&options, tasks);
    let tell = |seen| health.set("state", seen);
    Ok(Arc::new(patiently("state store", connect, StateError::is_retryable, tell, interrupt).await?))
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
    let (tls, prefix) = (settings.broker.tls(), settings.broker.prefix.clone());
    let options = AmqpOptions { tls, prefix, ..AmqpOptions::new(url.clone()) };
    let connect = || AmqpBroker::connect(&options, tasks);
    let tell = |seen| health.set("broker", seen);
    Ok(Arc::new(patiently("broker", connect, BrokerError::is_retryable, tell, interrupt).await?))
}

/// Repeats `connect` while the error is worth it; logs once that it waits for `server`, and tells each outcome.
async fn patiently<T, E, F>(
    server: &str,
    connect: impl Fn() -> F,
    is_retryable: impl Fn(&E) -> bool,
    tell: impl Fn(Result<(), String>),
    interrupt: &CancellationToken,
) -> Result<T, E>
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let mut waited = false;
    loop {
        match connect().await {
            Err(error) if is_retryable(&error) && !interrupt.is_cancelled() => {
                if !waited {
                    tracing::warn!("waiting for the {server}: {error}");
                    waited = true;
                }
                tell(Err(error.to_string()));
                tokio::select! {
                    () = interrupt.cancelled() => return Err(error),
                    () = tokio::time::sleep(AGAIN_AFTER) => {}
                }
            }
            Ok(port) => {
                if waited {
                    tracing::info!("the {server} is there");
                }
                tell(Ok(()));
                return Ok(port);
            }
            Err(error) => return Err(error),
        }
    }
}
