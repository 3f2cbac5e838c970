//! The outbox relay: publishes committed tasks, then settles them; it may repeat, never lose.
//!
//! The coordinator that commits a task publishes it at once. What it did not get to publish, because it or the broker
//! went away, and what was to wait, is found in the outbox by whichever coordinator looks first.

use std::{sync::Arc, time::Duration};

use clara_lifecycle::time::Timestamp;
use clara_runtime::{
    broker::{Broker, BrokerError, Task},
    metrics,
    state::{OutboxEntry, StateError, StateStore},
};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::outage::Outage;

/// How often the outbox is looked at.
const POLL: Duration = Duration::from_millis(200);
const BATCH: usize = 64;
/// How long an entry is left to the coordinator that committed it.
const LEFT_TO_COMMITTER: Duration = Duration::from_secs(5);
/// Publications at the same time; the broker confirms many together.
const IN_FLIGHT: usize = 512;
/// How long what was published waits for company before it is settled: far below [`LEFT_TO_COMMITTER`], so that no other
/// relay publishes it meanwhile.
const SETTLE_WITHIN: Duration = Duration::from_millis(50);
/// So many are settled without waiting for more.
const SETTLE_AT_ONCE: usize = 256;

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
    committed: Committed,
    shutdown: CancellationToken,
) {
    // Side by side: a publication that stands still while another one is waited for may have the next turn at the
    // broker's connection, and then both would wait for ever.
    futures::join!(
        pass_on(Arc::clone(&state), Arc::clone(&broker), committed, &shutdown),
        look(state.as_ref(), broker.as_ref(), &shutdown)
    );
}

/// Publishes what is handed over, and settles it.
async fn pass_on(
    state: Arc<dyn StateStore>,
    broker: Arc<dyn Broker>,
    Committed(mut committed): Committed,
    shutdown: &CancellationToken,
) {
    let mut in_flight = FuturesUnordered::new();
    let mut published: Vec<String> = Vec::new();
    let mut settle_at = Instant::now();
    let mut settling = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => {
                while settling.next().await.is_some() {}
                return settle(state.as_ref(), &published).await;
            }
            // What failed is found in the outbox later, and told then.
            Some(entry) = in_flight.next() => {
                if published.is_empty() {
                    settle_at = Instant::now() + SETTLE_WITHIN;
                }
                published.extend::<Option<String>>(Result::ok(entry));
            }
            Some(()) = settling.next() => {}
            () = tokio::time::sleep_until(settle_at), if !published.is_empty() && settling.is_empty() => {}
            Some(entry) = committed.recv(), if in_flight.len() < IN_FLIGHT => {
                let broker = Arc::clone(&broker);
                in_flight.push(async move { publish(broker.as_ref(), &entry).await });
            }
        }
        let is_due = published.len() >= SETTLE_AT_ONCE || settle_at <= Instant::now();
        if settling.is_empty() && !published.is_empty() && is_due {
            let (state, entries) = (Arc::clone(&state), std::mem::take(&mut published));
            settling.push(async move { settle(state.as_ref(), &entries).await });
        }
    }
}

/// Publishes what is due in the outbox, again and again.
async fn look(state: &dyn StateStore, broker: &dyn Broker, shutdown: &CancellationToken) {
    let mut looking = Outage::of("looking into the outbox");
    let mut publishing = Outage::of("publishing tasks");
    let mut next = tokio::time::interval(POLL);
    next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(next.tick()).await.is_some() {
        looking.see(publish_due(state, broker, &mut publishing).await);
    }
}

/// Publishes what is due in the outbox.
async fn publish_due(
    state: &dyn StateStore,
    broker: &dyn Broker,
    publishing: &mut Outage,
) -> Result<(), StateError> {
    let now = state.now().await?;
    let waiting = state.outbox(now, BATCH).await?;
    let oldest = waiting.iter().map(|entry| now.since(entry.not_before)).max();
    metrics::outbox_age(oldest.unwrap_or_default());
    let outcomes = futures::future::join_all(waiting.iter().map(|entry| publish(broker, entry))).await;
    let (mut published, mut failure) = (Vec::with_capacity(outcomes.len()), Ok(()));
    for outcome in outcomes {
        match outcome {
            Ok(entry) => published.push(entry),
            Err(error) => failure = Err(error),
        }
    }
    if !waiting.is_empty() {
        publishing.see(failure);
    }
    settle(state, &published).await;
    Ok(())
}

/// Publishes one entry and answers its text; when that fails it stays in the outbox.
async fn publish(broker: &dyn Broker, entry: &OutboxEntry) -> Result<String, BrokerError> {
    let Task { job, stage: of, .. } = &entry.task;
    broker.publish(&entry.task).await.inspect_err(|error| {
        debug!(job.id = %job, "the task of stage {of} could not be published: {error}; trying again");
    })?;
    metrics::outbox_published(*of);
    Ok(entry.text.clone())
}

async fn settle(state: &dyn StateStore, published: &[String]) {
    if published.is_empty() {
        return;
    }
    if let Err(error) = state.settle(published).await {
        debug!("{} published tasks stay in the outbox and are published again: {error}", published.len());
    }
}

#[cfg(test)]
mod tests;
