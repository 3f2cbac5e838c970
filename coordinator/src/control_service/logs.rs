//! Streams what the attempts of a job logged, and follows it until the job is at rest.

use std::{pin::Pin, time::Duration};

use clara_lifecycle::{
    id::{Attempt, JobId},
    log::{LogPart, LogPosition},
    stage::Stage,
};
use clara_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
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
type Sender = mpsc::Sender<Result<LogPart, DriverError>>;

/// What a reader of a log wants to see.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) stage: Option<Stage>,
    pub(crate) attempt: Option<Attempt>,
    /// Lines after this one.
    pub(crate) after: LogPosition,
    /// Goes on while the job does.
    pub(crate) follow: bool,
}

impl Wanted {
    fn has(&self, part: &LogPart) -> bool {
        self.stage.is_none_or(|stage| part.stage == stage)
            && self.attempt.is_none_or(|attempt| part.attempt == attempt)
    }
}

impl Control {
    pub(super) async fn stream_log(&self, request: v1::ReadLogRequest) -> Result<LogParts, DriverError> {
        let stage = request.stage.map(|number| stage_of("stage", number)).transpose()?;
        let wanted = Wanted {
            stage,
            attempt: request.attempt.map(Attempt),
            after: request.after.map(Into::into).unwrap_or_default(),
            follow: request.follow,
        };
        let parts = self.log(job_id(&request.job_id)?, wanted).await?;
        Ok(Box::pin(parts.map(|part| part.map(Into::into).map_err(|error| status_of(&error)))))
    }

    /// What the attempts of a job logged, in order of their claims.
    pub(crate) async fn log(
        &self,
        job: JobId,
        wanted: Wanted,
    ) -> Result<ReceiverStream<Result<LogPart, DriverError>>, DriverError> {
        self.driver.records.job(&job).await?;
        let cursor = LogCursor::after(job.clone(), wanted.after);
        let (sender, receiver) = mpsc::channel(PAGE);
        let driver = self.driver.clone();
        self.tasks.spawn_until_shutdown("coordinator.read_log", async move {
            if let Err(error) = read(&driver, &job, cursor, &wanted, &sender).await {
                // A reader that went away needs no error.
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(ReceiverStream::new(receiver))
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
            if sender.send(Ok(part)).await.is_err() {
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
