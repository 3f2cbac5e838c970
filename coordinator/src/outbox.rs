//! The outbox relay: publishes committed tasks, then settles them; it may repeat, never lose.

use std::{sync::Arc, time::Duration};

use clara_runtime::{
    broker::Broker,
    metrics,
    state::{StateError, StateStore},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often the outbox is looked at when no commit woke the relay.
const POLL: Duration = Duration::from_millis(200);
const BATCH: usize = 64;

/// Runs until `shutdown`.
pub(crate) async fn relay(state: Arc<dyn StateStore>, broker: Arc<dyn Broker>, shutdown: CancellationToken) {
    let mut commits = state.watch();
    while !shutdown.is_cancelled() {
        if let Err(error) = publish_due(state.as_ref(), broker.as_ref()).await {
            warn!("the outbox could not be published: {error}; trying again");
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = commits.recv() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

async fn publish_due(state: &dyn StateStore, broker: &dyn Broker) -> Result<(), StateError> {
    let now = state.now().await?;
    let waiting = state.outbox(now, BATCH).await?;
    let oldest = waiting.iter().map(|entry| now.since(entry.not_before)).max();
    metrics::outbox_age(oldest.unwrap_or_default());
    for entry in waiting {
        if let Err(error) = broker.publish(&entry.task).await {
            warn!(job.id = %entry.task.job, "the task of stage {} could not be published: {error}", entry.task.stage);
            return Ok(());
        }
        metrics::outbox_published(entry.task.stage);
        state.settle(&entry.id).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
