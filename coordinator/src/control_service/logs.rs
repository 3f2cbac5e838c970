//! Streams what the attempts of a job logged, and follows it until the job is at rest.

use std::{pin::Pin, time::Duration};

use clara_lifecycle::{
    id::{Attempt, JobId},
    log::LogPart,
    stage::Stage,
};
use clara_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::Status;

use super::{
    Control,
    jobs::{job_id, stage_of},
    watch::growth,
};
use crate::{
    driver::{Driver, DriverError},
    job_log::LogCursor,
    records::job_stream,
    worker_service::status_of,
};

/// How often a follower looks for new lines; workers send theirs about once a second.
const POLL: Duration = Duration::from_millis(500);
const PAGE: usize = 64;

pub(super) type LogParts = Pin<Box<dyn Stream<Item = Result<v1::ReadLogResponse, Status>> + Send>>;
type Sender = mpsc::Sender<Result<v1::ReadLogResponse, Status>>;

/// What a reader wants to see.
struct Wanted {
    stage: Option<Stage>,
    attempt: Option<Attempt>,
    follow: bool,
}

impl Wanted {
    fn has(&self, part: &LogPart) -> bool {
        self.stage.is_none_or(|stage| part.stage == stage)
            && self.attempt.is_none_or(|attempt| part.attempt == attempt)
    }
}

impl Control {
    pub(super) async fn stream_log(&self, request: v1::ReadLogRequest) -> Result<LogParts, DriverError> {
        let job = job_id(&request.job_id)?;
        self.driver.records.job(&job).await?;
        let stage = request.stage.map(|number| stage_of("stage", number)).transpose()?;
        let wanted = Wanted { stage, attempt: request.attempt.map(Attempt), follow: request.follow };
        let after = request.after.map(Into::into).unwrap_or_default();
        let cursor = LogCursor::after(job.clone(), after);
        let (sender, receiver) = mpsc::channel(PAGE);
        let driver = self.driver.clone();
        self.tasks.spawn("coordinator.read_log", async move {
            if let Err(error) = read(&driver, &job, cursor, &wanted, &sender).await {
                // A reader that went away needs no error.
                let _ = sender.send(Err(status_of(&error))).await;
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

async fn read(
    driver: &Driver,
    job: &JobId,
    mut cursor: LogCursor,
    wanted: &Wanted,
    sender: &Sender,
) -> Result<(), DriverError> {
    let stream = job_stream(job);
    let mut commits = driver.records.state.watch();
    loop {
        // Looked at before the lines: attempts send their last ones before they report.
        let ends = !wanted.follow || driver.records.job(job).await?.value.is_at_rest();
        let (parts, more) = driver.read_log(&mut cursor, PAGE).await?;
        for part in parts.into_iter().filter(|part| wanted.has(part)) {
            if sender.send(Ok(part.into())).await.is_err() {
                return Ok(());
            }
        }
        if more {
            continue;
        }
        if ends {
            return Ok(());
        }
        tokio::select! {
            () = sender.closed() => return Ok(()),
            () = growth(&mut commits, &stream) => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

#[cfg(test)]
mod tests;
