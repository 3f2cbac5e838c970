//! Tests of the shape of daemons.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Service;
use crate::{config::Settings, health::Health, http::Mount, task::Tasks};

#[tokio::test(start_paused = true)]
async fn a_watched_check_follows_what_is_seen_and_fails_without_an_answer() {
    let service = Service {
        settings: Settings::default(),
        health: Health::expecting(&["broker"]),
        pages: Mount::default(),
        tasks: Tasks::new(CancellationToken::new()),
        drain: CancellationToken::new(),
    };
    let (there, seen) = tokio::sync::watch::channel(Some(true));
    service.watch("broker", move || {
        let now = *seen.borrow();
        async move {
            match now {
                Some(true) => Ok(()),
                Some(false) => Err("it is away".to_owned()),
                None => std::future::pending().await,
            }
        }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(service.health.ready());
    there.send_replace(Some(false));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(service.health.failing()[0].to_string(), "broker: it is away");
    there.send_replace(None);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(service.health.failing()[0].to_string(), "broker: it gives no answer");
    assert!(service.tasks.finish(Duration::from_secs(1)).await);
}
