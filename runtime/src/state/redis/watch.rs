//! Announces streams that grew, from every coordinator's commits.

use std::time::Duration;

use futures::StreamExt;
use tokio::sync::broadcast;

use crate::metrics;

/// How long to wait before the channel is subscribed to again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Listens until it is dropped. Hints that come while the connection is away are lost, as the port allows.
pub(super) async fn follow(client: redis::Client, channel: String, growth: broadcast::Sender<String>) {
    let mut was_lost = false;
    loop {
        if let Err(error) = listen(&client, &channel, &growth, was_lost).await {
            tracing::debug!("growing streams are noticed late: {error}");
        }
        was_lost = true;
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn listen(
    client: &redis::Client,
    channel: &str,
    growth: &broadcast::Sender<String>,
    was_lost: bool,
) -> Result<(), redis::RedisError> {
    let mut subscription = client.get_async_pubsub().await?;
    subscription.subscribe(channel).await?;
    // Commands go over a connection that mends itself and does not tell; this one is lost when that one is.
    if was_lost {
        metrics::state_reconnected();
    }
    let mut messages = subscription.on_message();
    while let Some(message) = messages.next().await {
        // Nobody may be watching.
        drop(growth.send(message.get_payload()?));
    }
    Ok(())
}
