//! Follows a job's events until it is at rest.

use std::time::Duration;

use clara_lifecycle::{id::JobId, job::JobEvent};
use clara_proto::v1;
use clara_runtime::state::StoredEvent;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use super::{
    Control, Events,
    jobs::{job_id, time_to_wire},
};
use crate::{
    driver::{Driver, DriverError},
    records::{from_json, job_stream},
    worker_service::status_of,
};

/// How often the store is asked when no commit woke the follower.
const POLL: Duration = Duration::from_millis(500);
const PAGE: usize = 256;

type Sender = mpsc::Sender<Result<StoredEvent, DriverError>>;

impl Control {
    pub(super) async fn watch(&self, request: v1::WatchJobRequest) -> Result<Events, DriverError> {
        let events = self.events(job_id(&request.job_id)?, request.after_event).await?;
        Ok(Box::pin(events.map(|event| match event {
            Ok(StoredEvent { number, at, body: json }) => {
                Ok(v1::WatchJobResponse { number, at: Some(time_to_wire(at)), json })
            }
            Err(error) => Err(status_of(&error)),
        })))
    }

    /// The events of a job after number `after`, until it is at rest.
    pub(crate) async fn events(
        &self,
        job: JobId,
        after: u64,
    ) -> Result<ReceiverStream<Result<StoredEvent, DriverError>>, DriverError> {
        self.driver.records.job(&job).await?;
        let (sender, receiver) = mpsc::channel(PAGE);
        let driver = self.driver.clone();
        self.tasks.spawn_until_shutdown("coordinator.watch", async move {
            if let Err(error) = follow(&driver, &job, after, &sender).await {
                // A follower that went away needs no error.
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(ReceiverStream::new(receiver))
    }
}

async fn follow(driver: &Driver, job: &JobId, mut after: u64, sender: &Sender) -> Result<(), DriverError> {
    let stream = job_stream(job);
    let mut commits = driver.records.state.watch();
    let mut at_rest = false;
    loop {
        let events = driver.records.state.events(&stream, after, PAGE).await?;
        let caught_up = events.len() < PAGE;
        let mut may_rest = events.is_empty();
        for event in events {
            after = event.number;
            // What a newer coordinator wrote may mean anything.
            let known = from_json::<JobEvent>(&stream, &event.body).ok();
            may_rest |= known.is_none_or(|known| known.may_end());
            if sender.send(Ok(event)).await.is_err() {
                return Ok(());
            }
        }
        if caught_up && at_rest {
            return Ok(());
        }
        // The events are looked at once more: what rests now has all of them committed.
        at_rest = may_rest && driver.records.job(job).await?.value.is_at_rest();
        if caught_up && !at_rest {
            tokio::select! {
                () = sender.closed() => return Ok(()),
                () = growth(&mut commits, &stream) => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }
}

/// Waits until something happened to the job.
pub(super) async fn growth(commits: &mut broadcast::Receiver<String>, stream: &str) {
    loop {
        match commits.recv().await {
            Ok(grown) if grown != stream => {}
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            // The store announces no more; the poll goes on.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
