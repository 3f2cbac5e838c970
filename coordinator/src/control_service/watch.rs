//! Follows a job's events until it is at rest.

use std::time::Duration;

use clara_lifecycle::id::JobId;
use clara_proto::v1;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    Control, Events,
    jobs::{job_id, time_to_wire},
};
use crate::{
    driver::{Driver, DriverError},
    records::job_stream,
    worker_service::status_of,
};

/// How often the store is asked when no commit woke the follower.
const POLL: Duration = Duration::from_millis(500);
const PAGE: usize = 256;

type Sender = mpsc::Sender<Result<v1::WatchJobResponse, Status>>;

impl Control {
    pub(super) async fn watch(&self, request: v1::WatchJobRequest) -> Result<Events, DriverError> {
        let job = job_id(&request.job_id)?;
        self.driver.records.job(&job).await?;
        let (sender, receiver) = mpsc::channel(PAGE);
        let driver = self.driver.clone();
        self.tasks.spawn("coordinator.watch", async move {
            if let Err(error) = follow(&driver, &job, request.after_event, &sender).await {
                // A follower that went away needs no error.
                let _ = sender.send(Err(status_of(&error))).await;
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

async fn follow(driver: &Driver, job: &JobId, mut after: u64, sender: &Sender) -> Result<(), DriverError> {
    let stream = job_stream(job);
    let mut commits = driver.records.state.watch();
    loop {
        // Looked at before the events: what rests now has all its events committed.
        let at_rest = driver.records.job(job).await?.value.is_at_rest();
        let events = driver.records.state.events(&stream, after, PAGE).await?;
        let caught_up = events.len() < PAGE;
        for event in events {
            after = event.number;
            let at = Some(time_to_wire(event.at));
            if sender
                .send(Ok(v1::WatchJobResponse { number: event.number, at, json: event.body }))
                .await
                .is_err()
            {
                return Ok(());
            }
        }
        if caught_up && at_rest {
            return Ok(());
        }
        if caught_up {
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
