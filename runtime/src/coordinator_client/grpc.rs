//! The coordinator over gRPC.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use clara_lifecycle::{attempt::Progress, id::JobId, log::LogLine, results::StageResult};
use clara_proto::{
    convert::key_to_wire,
    v1::{self, worker_service_client::WorkerServiceClient},
};
use tonic::{
    Code, Status,
    body::Body,
    client::GrpcService,
    codegen::{Body as HttpBody, StdError},
    transport::{Channel, Endpoint},
};

use super::{Claim, ClaimAnswer, ClaimedAttempt, Coordinator, CoordinatorError, Directive, ReportOutcome};
use crate::trace::TraceContext;

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a call may take; well below every lease.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Assignments carry specifications and results; the default of 4 MiB could be too small.
const LARGEST_MESSAGE_BYTES: usize = 64 << 20;

/// A coordinator at a URL; connects when it is first needed, and again after every loss.
#[derive(Debug, Clone)]
pub struct GrpcCoordinator<T = Channel> {
    url: String,
    client: WorkerServiceClient<T>,
}

impl GrpcCoordinator {
    /// The coordinator at `url`, e.g. `http://127.0.0.1:7400`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`CoordinatorError::Invalid`] when `url` is not one.
    pub fn new(url: &str) -> Result<Self, CoordinatorError> {
        let invalid = |error: tonic::transport::Error| CoordinatorError::Invalid {
            url: url.to_owned(),
            call: "a connection",
            reason: error.to_string(),
        };
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(invalid)?;
        let channel = endpoint.connect_timeout(CONNECT_WITHIN).timeout(ANSWER_WITHIN).connect_lazy();
        let client = WorkerServiceClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE_BYTES);
        Ok(Self { url: url.to_owned(), client })
    }
}

impl<T: GrpcService<Body>> GrpcCoordinator<T> {
    /// A coordinator in this process that is called without a socket; `name` stands for its URL in errors.
    pub fn in_process(name: &str, service: T) -> Self
    where
        T::Error: Into<StdError>,
        T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
        <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
    {
        let client = WorkerServiceClient::new(service).max_decoding_message_size(LARGEST_MESSAGE_BYTES);
        Self { url: name.to_owned(), client }
    }
}

impl<T> GrpcCoordinator<T> {
    fn failed(&self, call: &'static str, status: &Status) -> CoordinatorError {
        let (url, reason) = (self.url.clone(), status.message().to_owned());
        match status.code() {
            Code::InvalidArgument | Code::Unimplemented | Code::FailedPrecondition | Code::NotFound => {
                CoordinatorError::Invalid { url, call, reason }
            }
            _ => CoordinatorError::Unavailable { url, reason },
        }
    }

    fn malformed(&self, call: &'static str, reason: &dyn std::fmt::Display) -> CoordinatorError {
        CoordinatorError::Invalid { url: self.url.clone(), call, reason: reason.to_string() }
    }

    fn outcome(&self, call: &'static str, number: i32) -> Result<ReportOutcome, CoordinatorError> {
        match v1::ReportOutcome::try_from(number) {
            Ok(v1::ReportOutcome::Accepted) => Ok(ReportOutcome::Accepted),
            Ok(v1::ReportOutcome::Duplicate) => Ok(ReportOutcome::Duplicate),
            Ok(v1::ReportOutcome::Stale) => Ok(ReportOutcome::Stale),
            Ok(v1::ReportOutcome::Unspecified) | Err(_) => {
                Err(self.malformed(call, &format!("it answered the unknown outcome {number}")))
            }
        }
    }
}

/// A request in the trace of its job.
fn traced<T>(job: &JobId, message: T) -> tonic::Request<T> {
    TraceContext::of_job(job).inject(message)
}

fn key(attempt: &ClaimedAttempt) -> v1::AttemptKey {
    key_to_wire(&attempt.job, attempt.key)
}

#[async_trait]
impl<T> Coordinator for GrpcCoordinator<T>
where
    T: GrpcService<Body> + fmt::Debug + Clone + Send + Sync + 'static,
    T::Future: Send,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, CoordinatorError> {
        const CALL: &str = "a claim";
        let request = v1::ClaimRequest {
            job_id: claim.task.job.to_string(),
            stage: v1::Stage::from(claim.task.stage).into(),
            attempt: claim.task.attempt.0,
            worker_id: claim.worker.to_string(),
            claim_id: claim.claim_id.clone(),
        };
        let answer = self
            .client
            .clone()
            .claim(traced(&claim.task.job, request))
            .await
            .map_err(|status| self.failed(CALL, &status))?;
        match answer.into_inner().answer {
            Some(v1::claim_response::Answer::Refusal(refusal)) => {
                Ok(ClaimAnswer::Refused { reason: refusal.reason })
            }
            Some(v1::claim_response::Answer::Grant(grant)) => {
                let missing = |what: &str| self.malformed(CALL, &format!("its answer has no {what}"));
                let assignment = grant.assignment.ok_or_else(|| missing("assignment"))?;
                let assignment = assignment.try_into().map_err(|error| self.malformed(CALL, &error))?;
                let lease_ttl = grant.lease_ttl.ok_or_else(|| missing("lease"))?;
                let lease_ttl =
                    Duration::try_from(lease_ttl).map_err(|error| self.malformed(CALL, &error))?;
                Ok(ClaimAnswer::Granted { assignment: Box::new(assignment), lease_ttl })
            }
            None => Err(self.malformed(CALL, &"its answer is neither a grant nor a refusal")),
        }
    }

    async fn heartbeat(
        &self,
        attempt: &ClaimedAttempt,
        progress: &Progress,
    ) -> Result<Directive, CoordinatorError> {
        const CALL: &str = "a heartbeat";
        let request =
            v1::HeartbeatRequest { key: Some(key(attempt)), progress: Some(progress.clone().into()) };
        let answer = self
            .client
            .clone()
            .heartbeat(traced(&attempt.job, request))
            .await
            .map_err(|status| self.failed(CALL, &status))?;
        let number = answer.into_inner().directive;
        match v1::Directive::try_from(number) {
            Ok(v1::Directive::Continue) => Ok(Directive::Continue),
            Ok(v1::Directive::Cancel) => Ok(Directive::Cancel),
            Ok(v1::Directive::Drain) => Ok(Directive::Drain),
            Ok(v1::Directive::Fenced) => Ok(Directive::Fenced),
            Ok(v1::Directive::Unspecified) | Err(_) => {
                Err(self.malformed(CALL, &format!("it answered the unknown directive {number}")))
            }
        }
    }

    async fn complete(
        &self,
        attempt: &ClaimedAttempt,
        result: &StageResult,
    ) -> Result<ReportOutcome, CoordinatorError> {
        const CALL: &str = "a result";
        let request = v1::CompleteRequest { key: Some(key(attempt)), result: Some(result.clone().into()) };
        let answer = self
            .client
            .clone()
            .complete(traced(&attempt.job, request))
            .await
            .map_err(|status| self.failed(CALL, &status))?;
        self.outcome(CALL, answer.into_inner().outcome)
    }

    async fn fail(
        &self,
        attempt: &ClaimedAttempt,
        message: &str,
        retryable: bool,
    ) -> Result<ReportOutcome, CoordinatorError> {
        const CALL: &str = "a failure";
        let request = v1::FailRequest { key: Some(key(attempt)), message: message.to_owned(), retryable };
        let answer = self
            .client
            .clone()
            .fail(traced(&attempt.job, request))
            .await
            .map_err(|status| self.failed(CALL, &status))?;
        self.outcome(CALL, answer.into_inner().outcome)
    }

    async fn hand_back(&self, attempt: &ClaimedAttempt) -> Result<ReportOutcome, CoordinatorError> {
        const CALL: &str = "a hand-back";
        let request = v1::HandBackRequest { key: Some(key(attempt)) };
        let answer = self
            .client
            .clone()
            .hand_back(traced(&attempt.job, request))
            .await
            .map_err(|status| self.failed(CALL, &status))?;
        self.outcome(CALL, answer.into_inner().outcome)
    }

    async fn append_log(&self, attempt: &ClaimedAttempt, lines: &[LogLine]) -> Result<(), CoordinatorError> {
        let lines = lines.iter().cloned().map(Into::into).collect();
        let request = v1::AppendLogRequest { key: Some(key(attempt)), lines };
        let answer = self.client.clone().append_log(traced(&attempt.job, request)).await;
        answer.map(drop).map_err(|status| self.failed("log lines", &status))
    }
}
