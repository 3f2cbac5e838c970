//! The coordinator over gRPC.

use std::{fmt, future::Future, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use clara_lifecycle::{
    attempt::Progress,
    hello::{Hello, Welcome},
    id::JobId,
    log::LogLine,
    results::StageResult,
};
use clara_proto::{
    convert::key_to_wire,
    v1::{
        self, exchange_request::Call, exchange_response::Reply, worker_service_client::WorkerServiceClient,
    },
};
use tonic::{
    Code, Response, Status,
    body::Body,
    client::GrpcService,
    codegen::{Body as HttpBody, StdError},
    transport::Channel,
};

use super::{
    Claim, ClaimAnswer, ClaimedAttempt, Coordinator, CoordinatorError, Directive, ReportOutcome,
    peers::{self, Failed, Peers},
};
use crate::{task::Tasks, trace::TraceContext};
use exchange::Exchange;

mod exchange;

/// How long a call may take; well below every lease.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Assignments carry specifications and results; the default of 4 MiB could be too small.
const LARGEST_MESSAGE_BYTES: usize = 64 << 20;

/// The coordinators at some URLs; connects when one is first needed, and again after every loss.
#[derive(Debug, Clone)]
pub struct GrpcCoordinator<T = Channel> {
    peers: Peers<Peer<T>>,
}

/// One coordinator.
#[derive(Debug, Clone)]
struct Peer<T> {
    client: WorkerServiceClient<T>,
    /// None where there is no wire to share.
    exchange: Option<Exchange>,
}

impl GrpcCoordinator {
    /// The coordinators at `urls`, e.g. `http://127.0.0.1:7400`, several with commas between them. Nothing is sent yet.
    /// What reads their replies is one of `tasks`.
    ///
    /// # Errors
    /// [`CoordinatorError::Invalid`] when one is no URL.
    pub fn new(urls: &str, tasks: &Tasks) -> Result<Self, CoordinatorError> {
        let invalid = |url: &str, reason: String| CoordinatorError::Invalid {
            url: url.to_owned(),
            call: "a connection",
            reason,
        };
        let mut clients = Vec::new();
        for url in peers::urls(urls) {
            let endpoint = peers::endpoint(url).map_err(|error| invalid(url, error.to_string()))?;
            let client = client(endpoint.timeout(ANSWER_WITHIN).connect_lazy());
            clients.push((url.to_owned(), Peer { client, exchange: Some(Exchange::new(tasks)) }));
        }
        let peers = Peers::of(clients).ok_or_else(|| invalid(urls, "no URL is given".to_owned()))?;
        Ok(Self { peers })
    }
}

impl<T: GrpcService<Body> + Clone> GrpcCoordinator<T> {
    /// A coordinator in this process that is called without a socket; `name` stands for its URL in errors.
    pub fn in_process(name: &str, service: T) -> Self
    where
        T::Error: Into<StdError>,
        T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
        <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
    {
        Self { peers: Peers::one(name, Peer { client: client(service), exchange: None }) }
    }
}

fn client<T: GrpcService<Body>>(service: T) -> WorkerServiceClient<T>
where
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    WorkerServiceClient::new(service).max_decoding_message_size(LARGEST_MESSAGE_BYTES)
}

impl<T> GrpcCoordinator<T>
where
    T: GrpcService<Body> + Clone,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    /// Makes a call, `send`, of whatever coordinator answers.
    async fn call<R, F>(
        &self,
        name: &'static str,
        send: impl Fn(WorkerServiceClient<T>) -> F,
    ) -> Result<R, CoordinatorError>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.peers.call(|peer| send(peer.client)).await.map_err(|failed| error_of(name, failed))
    }

    /// Makes a call about an attempt of `job`: over the exchange, or alone where the coordinator has none.
    async fn ask(&self, name: &'static str, job: &JobId, call: &Call) -> Result<Reply, CoordinatorError> {
        let send = |Peer { client, exchange }: Peer<T>| async move {
            if let Some(exchange) = exchange {
                let mut opener = client.clone();
                let open = |calls| async move { opener.exchange(calls).await };
                if let Some(reply) = exchange.ask(call, open).await? {
                    return Ok(Response::new(reply));
                }
            }
            alone(client, job, call.clone()).await
        };
        self.peers.call(send).await.map_err(|failed| error_of(name, failed))
    }

    fn outcome(&self, name: &'static str, number: i32) -> Result<ReportOutcome, CoordinatorError> {
        match v1::ReportOutcome::try_from(number) {
            Ok(v1::ReportOutcome::Accepted) => Ok(ReportOutcome::Accepted),
            Ok(v1::ReportOutcome::Duplicate) => Ok(ReportOutcome::Duplicate),
            Ok(v1::ReportOutcome::Stale) => Ok(ReportOutcome::Stale),
            Ok(v1::ReportOutcome::Unspecified) | Err(_) => {
                Err(self.malformed(name, &format!("it answered the unknown outcome {number}")))
            }
        }
    }
}

impl<T: Clone> GrpcCoordinator<T> {
    fn malformed(&self, call: &'static str, reason: &dyn std::fmt::Display) -> CoordinatorError {
        CoordinatorError::Invalid { url: self.peers.url().to_owned(), call, reason: reason.to_string() }
    }

    fn of_another_kind(&self, call: &'static str) -> CoordinatorError {
        self.malformed(call, &"it answered something else")
    }
}

fn error_of(call: &'static str, Failed { url, status }: Failed) -> CoordinatorError {
    let reason = status.message().to_owned();
    if peers::may_succeed_elsewhere(status.code()) {
        CoordinatorError::Unavailable { url, reason }
    } else {
        CoordinatorError::Invalid { url, call, reason }
    }
}

/// Makes a call about an attempt of `job` by itself.
async fn alone<T>(
    mut client: WorkerServiceClient<T>,
    job: &JobId,
    call: Call,
) -> Result<Response<Reply>, Status>
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    Ok(match call {
        Call::Claim(request) => client.claim(traced(job, request)).await?.map(Reply::Claim),
        Call::Heartbeat(request) => client.heartbeat(traced(job, request)).await?.map(Reply::Heartbeat),
        Call::Complete(request) => client.complete(traced(job, request)).await?.map(Reply::Complete),
        Call::Fail(request) => client.fail(traced(job, request)).await?.map(Reply::Fail),
        Call::HandBack(request) => client.hand_back(traced(job, request)).await?.map(Reply::HandBack),
    })
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
    async fn hello(&self, hello: &Hello) -> Result<Welcome, CoordinatorError> {
        const CALL: &str = "a greeting";
        let send = |mut client: WorkerServiceClient<T>| {
            let request = v1::HelloRequest::from(hello.clone());
            async move { client.hello(request).await }
        };
        match self.peers.call(|peer| send(peer.client)).await {
            Ok(welcome) => welcome.try_into().map_err(|error| self.malformed(CALL, &error)),
            // Coordinators of the release before cannot answer it, and can do all the rest.
            Err(failed) if failed.status.code() == Code::Unimplemented => Ok(Welcome::before_hello()),
            Err(failed) => Err(error_of(CALL, failed)),
        }
    }

    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, CoordinatorError> {
        const CALL: &str = "a claim";
        let request = v1::ClaimRequest {
            job_id: claim.task.job.to_string(),
            stage: v1::Stage::from(claim.task.stage).into(),
            attempt: claim.task.attempt.0,
            worker_id: claim.worker.to_string(),
            claim_id: claim.claim_id.clone(),
        };
        let reply = self.ask(CALL, &claim.task.job, &Call::Claim(request)).await?;
        let Reply::Claim(reply) = reply else { return Err(self.of_another_kind(CALL)) };
        match reply.answer {
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
        let reply = self.ask(CALL, &attempt.job, &Call::Heartbeat(request)).await?;
        let Reply::Heartbeat(v1::HeartbeatResponse { directive: number }) = reply else {
            return Err(self.of_another_kind(CALL));
        };
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
        match self.ask(CALL, &attempt.job, &Call::Complete(request)).await? {
            Reply::Complete(answer) => self.outcome(CALL, answer.outcome),
            _ => Err(self.of_another_kind(CALL)),
        }
    }

    async fn fail(
        &self,
        attempt: &ClaimedAttempt,
        message: &str,
        retryable: bool,
    ) -> Result<ReportOutcome, CoordinatorError> {
        const CALL: &str = "a failure";
        let request = v1::FailRequest { key: Some(key(attempt)), message: message.to_owned(), retryable };
        match self.ask(CALL, &attempt.job, &Call::Fail(request)).await? {
            Reply::Fail(answer) => self.outcome(CALL, answer.outcome),
            _ => Err(self.of_another_kind(CALL)),
        }
    }

    async fn hand_back(&self, attempt: &ClaimedAttempt) -> Result<ReportOutcome, CoordinatorError> {
        const CALL: &str = "a hand-back";
        let request = v1::HandBackRequest { key: Some(key(attempt)) };
        match self.ask(CALL, &attempt.job, &Call::HandBack(request)).await? {
            Reply::HandBack(answer) => self.outcome(CALL, answer.outcome),
            _ => Err(self.of_another_kind(CALL)),
        }
    }

    async fn append_log(&self, attempt: &ClaimedAttempt, lines: &[LogLine]) -> Result<(), CoordinatorError> {
        let send = |mut client: WorkerServiceClient<T>| {
            let lines = lines.iter().cloned().map(Into::into).collect();
            let request = v1::AppendLogRequest { key: Some(key(attempt)), lines };
            let request = traced(&attempt.job, request);
            async move { client.append_log(request).await }
        };
        self.call("log lines", send).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
