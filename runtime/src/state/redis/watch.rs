//! Announces streams that grew, from every coordinator's commits, while somebody in this process watches.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::{
    sync::{Notify, broadcast},
    time::Instant,
};

use crate::metrics;

/// How long to wait before the connection is made again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How long announcements still come after the last watcher went away: the next one often comes soon.
const LINGER: Duration = Duration::from_secs(10);

/// The announcements of a store's commits.
#[derive(Debug, Clone)]
pub(super) struct Growth {
    streams: broadcast::Sender<String>,
    wanted: Arc<Notify>,
}

impl Growth {
    pub(super) fn new() -> Self {
        Self { streams: broadcast::channel(1024).0, wanted: Arc::default() }
    }

    /// From now on, or very soon, streams that grow are announced.
    pub(super) fn watch(&self) -> broadcast::Receiver<String> {
        let receiver = self.streams.subscribe();
        self.wanted.notify_one();
        receiver
    }

    /// Listens until it is dropped. Hints that come while the connection is away are lost, as the port allows.
    pub(super) async fn follow(self, client: redis::Client, channel: String) {
        let mut was_lost = false;
        loop {
            if let Err(error) = self.listen(&client, &channel, was_lost).await {
                tracing::debug!("growing streams are noticed late: {error}");
            }
            was_lost = true;
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn listen(
        &self,
        client: &redis::Client,
        channel: &str,
        was_lost: bool,
    ) -> Result<(), redis::RedisError> {
        let (mut commands, mut messages) = client.get_async_pubsub().await?.split();
        // Other commands go over a connection that mends itself and does not tell; this one is lost when that one is.
        if was_lost {
            metrics::state_reconnected();
        }
        let mut subscribed = false;
        let mut watched_at = Instant::now();
        loop {
            if self.streams.receiver_count() > 0 {
                watched_at = Instant::now();
                if !subscribed {
                    commands.subscribe(channel).await?;
                    subscribed = true;
                }
            }
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return Ok(()) };
                    let grown: String = message.get_payload()?;
                    for stream in grown.lines() {
                        // The last watcher may just have gone away.
                        drop(self.streams.send(stream.to_owned()));
                    }
                }
                () = self.wanted.notified(), if !subscribed => {}
                // Each announcement costs every coordinator that hears it, so nobody listens in vain.
                () = tokio::time::sleep_until(watched_at + LINGER), if subscribed => {
                    if self.streams.receiver_count() == 0 {
                        commands.unsubscribe(channel).await?;
                        subscribed = false;
                    }
                }
            }
        }
    }
}
