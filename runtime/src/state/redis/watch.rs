//! Announces streams that grew, from every coordinator's commits.

use std::time::Duration;

use futures::StreamExt;
use tokio::sync::broadcast;

/// How long to wait before the channel is subscribed to again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Listens until it is dropped. Hints that come while the connection is away are lost, as the port allows.
pub(super) async fn follow(client: redis::Client, channel: String, growth: broadcast::Sender<String>) {
    loop {
        if let Err(error) = listen(&client, &channel, &growth).await {
            tracing::debug!("growing streams are noticed late: {error}");
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn listen(
    client: &redis::Client,
    channel: &str,
    growth: &broadcast::Sender<String>,
) -> Result<(), redis::RedisError> {
    let mut subscription = client.get_async_pubsub().await?;
    subscription.subscribe(channel).await?;
    let mut messages = subscription.on_message();
    while let Some(message) = messages.next().await {
        // Nobody may be watching.
        drop(growth.send(message.get_payload()?));
    }
    Ok(())
}
