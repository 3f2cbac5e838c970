//! The outbox relay: publishes committed tasks, then settles them; it may repeat, never lose.
//!
//! The coordinator that commits a task publishes it at once. What it did not get to publish, because it or the broker
//! went away, and what was to wait, is found in the outbox by whichever coordinator looks first.

use std::{sync::Arc, time::Duration};

use clara_lifecycle::time::Timestamp;
use clara_runtime::{
    broker::{Broker, Task},
    metrics,
    state::{OutboxEntry, StateError, StateStore},
};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::outage::Outage;

/// How often the outbox is looked at.
const POLL: Duration = Duration::from_millis(200);
const BATCH: usize = 64;
/// How long an entry is left to the coordinator that committed it.
const LEFT_TO_COMMITTER: Duration = Duration::from_secs(5);
/// Publications at the same time; the broker confirms many together.
const IN_FLIGHT: usize = 512;

/// Hands committed tasks to the relay of this coordinator.
#[derive(Debug, Clone)]
pub(crate) struct Relay(mpsc::Sender<OutboxEntry>);

/// The receiving end of [`Relay`].
#[derive(Debug)]
pub(crate) struct Committed(mpsc::Receiver<OutboxEntry>);

impl Relay {
    pub(crate) fn new() -> (Self, Committed) {
        let (sender, receiver) = mpsc::channel(4 * IN_FLIGHT);
        (Self(sender), Committed(receiver))
    }

    /// Keeps entries that are due from other relays for a while. Answers copies to be published after the commit.
    pub(crate) fn reserve(entries: &mut [OutboxEntry], now: Timestamp) -> Vec<OutboxEntry> {
        let mut due = Vec::new();
        for entry in entries.iter_mut().filter(|entry| entry.not_before <= now) {
            due.push(entry.clone());
            entry.not_before = now.after(LEFT_TO_COMMITTER);
        }
        due
    }

    /// Publishes reserved entries soon.
    pub(crate) fn publish(&self, entries: Vec<OutboxEntry>) {
        for entry in entries {
            if self.0.try_send(entry).is_err() {
                debug!("the relay has enough to do; a task waits in the outbox");
            }
        }
    }
}

/// Runs until `shutdown`.
pub(crate) async fn relay(
    state: Arc<dyn StateStore>,
    broker: Arc<dyn Broker>,
    Committed(mut committed): Committed,
    shutdown: CancellationToken,
) {
    let mut in_flight = FuturesUnordered::new();
    let mut published = Vec::new();
    let mut settling = FuturesUnordered::new();
    let mut looking = Outage::of("looking into the outbox");
    let mut look = tokio::time::interval(POLL);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(entry) = in_flight.next() => published.extend(entry),
            Some(()) = settling.next() => {}
            Some(entry) = committed.recv(), if in_flight.len() < IN_FLIGHT => {
                let broker = Arc::clone(&broker);
                in_flight.push(async move { publish(broker.as_ref(), &entry).await.then_some(entry.id) });
            }
            _ = look.tick() => {
                looking.see(publish_due(state.as_ref(), broker.as_ref()).await);
            }
        }
        // What was published while one call settled is settled by the next, so that a busy relay makes few calls.
        if settling.is_empty() && !published.is_empty() {
            let (state, entries) = (Arc::clone(&state), std::mem::take(&mut published));
            settling.push(async move { settle(state.as_ref(), &entries).await });
        }
    }
}

/// Publishes what is due in the outbox.
async fn publish_due(state: &dyn StateStore, broker: &dyn Broker) -> Result<(), StateError> {
    let now = state.now().await?;
    let waiting = state.outbox(now, BATCH).await?;
    let oldest = waiting.iter().map(|entry| now.since(entry.not_before)).max();
    metrics::outbox_age(oldest.unwrap_or_default());
    let published =
        waiting.iter().map(|entry| async { publish(broker, entry).await.then(|| entry.id.clone()) });
    let published = futures::future::join_all(published).await;
    settle(state, &published.into_iter().flatten().collect::<Vec<_>>()).await;
    Ok(())
}

/// Publishes one entry. Answers whether that is done; if not, the entry stays in the outbox.
async fn publish(broker: &dyn Broker, entry: &OutboxEntry) -> bool {
    let Task { job, stage: of, .. } = &entry.task;
    if let Err(error) = broker.publish(&entry.task).await {
        warn!(job.id = %job, "the task of stage {of} could not be published: {error}; trying again");
        return false;
    }
    metrics::outbox_published(*of);
    true
}

async fn settle(state: &dyn StateStore, published: &[String]) {
    if let Err(error) = state.settle(published).await {
        debug!("{} published tasks stay in the outbox and are published again: {error}", published.len());
    }
}

#[cfg(test)]
mod tests;
