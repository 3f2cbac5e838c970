//! The log of a job, part by part.

use clara_lifecycle::{
    log::{LogPart, LogPosition},
    stage::Stage,
};
use clara_proto::v1;
use tonic::{Code, Streaming};

use super::{Answer, CallError, Client};

/// What of a log is read.
#[derive(Debug, Clone)]
pub(crate) struct LogQuery {
    pub(crate) job_id: String,
    /// Only attempts of this stage.
    pub(crate) stage: Option<Stage>,
    /// Only attempts with this number.
    pub(crate) attempt: Option<u32>,
    /// Goes on until the job is at rest.
    pub(crate) follow: bool,
}

/// A log as it comes.
#[derive(Debug)]
pub(crate) struct LogStream(Streaming<v1::ReadLogResponse>);

impl LogStream {
    /// The next part; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Answer<Option<LogPart>> {
        let Some(part) = self.0.message().await? else { return Ok(None) };
        let unreadable = |error| {
            let message = format!(
                "the coordinator sent log lines that cannot be read: {error}; check that both have the same version"
            );
            CallError { code: Code::Internal, message }
        };
        LogPart::try_from(part).map(Some).map_err(unreadable)
    }
}

impl Client {
    /// The lines after `after`.
    pub(crate) async fn log(&self, query: &LogQuery, after: LogPosition) -> Answer<LogStream> {
        let request = v1::ReadLogRequest {
            job_id: query.job_id.clone(),
            stage: query.stage.map(|stage| v1::Stage::from(stage).into()),
            attempt: query.attempt,
            after: Some(after.into()),
            follow: query.follow,
        };
        match self.calls().read_log(request).await {
            Ok(answer) => Ok(LogStream(answer.into_inner())),
            Err(status) if status.code() == Code::Unimplemented => Err(CallError {
                code: Code::Unimplemented,
                message: "the coordinator keeps no logs: it is older than this command; upgrade it"
                    .to_owned(),
            }),
            Err(status) => Err(status.into()),
        }
    }
}
