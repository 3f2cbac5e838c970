//! Follows a job's events until it is at rest, across lost connections.

use std::time::Duration;

use anyhow::{Context, Result};
use clara_lifecycle::{
    job::{Job, JobEvent},
    time::Timestamp,
};
use clara_proto::v1;
use tonic::{Code, Status};

use crate::client::{CallError, Client};

/// How often a lost connection is tried again before the follower gives up.
pub(crate) const TRIES: u32 = 10;
/// How long a follower waits before it tries again.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// One event with its place in the stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NumberedEvent {
    pub(crate) number: u64,
    pub(crate) at: Timestamp,
    pub(crate) event: JobEvent,
}

/// Passes every event to `see` and answers the job once it is at rest.
pub(crate) async fn follow(
    client: &Client,
    job_id: &str,
    mut see: impl FnMut(&NumberedEvent) -> Result<()>,
) -> Result<Job> {
    let mut last = 0;
    let mut failures = 0;
    loop {
        let before = last;
        let streamed = rest(client, job_id, &mut last, &mut see).await;
        if last > before {
            failures = 0;
        }
        match streamed {
            Ok(job) if job.is_at_rest() => return Ok(job),
            // The coordinator ended the stream early: it shuts down or was replaced.
            Ok(_) => failures += 1,
            Err(error) if is_lost_connection(&error) && failures < TRIES => failures += 1,
            Err(error) => return Err(error),
        }
        client.turn();
        if failures >= TRIES {
            anyhow::bail!(
                "the connection to the coordinator was lost; the job goes on: clara job watch {job_id}"
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Passes on what happens after event `last` until the stream ends; answers the job of then.
async fn rest(
    client: &Client,
    job_id: &str,
    last: &mut u64,
    see: &mut impl FnMut(&NumberedEvent) -> Result<()>,
) -> Result<Job> {
    let mut events = client.watch(job_id, *last).await?;
    while let Some(message) = events.message().await.map_err(call_error)? {
        let event = numbered(&message)?;
        *last = event.number;
        see(&event)?;
    }
    Ok(client.job(job_id).await?)
}

fn numbered(message: &v1::WatchJobResponse) -> Result<NumberedEvent> {
    let event = serde_json::from_str(&message.json).with_context(|| {
        format!("event {} of the job cannot be read; check that both have the same version", message.number)
    })?;
    let at = message.at.map_or(0, |at| at.seconds * 1000 + i64::from(at.nanos) / 1_000_000);
    Ok(NumberedEvent { number: message.number, at: Timestamp(at), event })
}

fn call_error(status: Status) -> CallError {
    CallError::from(status)
}

/// Whether the coordinator could not be reached, so that the call may be repeated.
pub(crate) fn is_lost_connection(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<CallError>()
        .is_some_and(|error| matches!(error.code, Code::Unavailable | Code::Unknown))
}
