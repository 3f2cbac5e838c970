//! What workers say, over gRPC: claim, heartbeat, report.

use std::{borrow::Cow, panic::AssertUnwindSafe, sync::Arc};

use clara_lifecycle::{
    adapter::{AliasError, Family},
    attempt::{Assignment, ChampionInput, JudgeOffsets},
    calibration::KnownJudge,
    hello::{Hello, ProtocolRange, Welcome},
    id::{Attempt, ClassName, JobId},
    job::{AttemptKey, Event, Job, LeaseTerms, Rejected, StageState},
    log::LogLine,
    resources::ResourceClass,
    results::EarlierDatasets,
    review::ReviewError,
    stage::Stage,
};
use clara_proto::{
    convert::{ConvertError, claim_key, welcome_to_wire},
    v1::{self, exchange_request::Call, exchange_response::Reply, worker_service_server::WorkerService},
};
use clara_runtime::metrics;
use futures::{FutureExt as _, StreamExt as _, future::ready, stream::BoxStream};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use crate::{
    copies::FamilyAndHead,
    driver::{Driver, DriverError, champion_for, evaluations_before},
    server::LARGEST_MESSAGE_BYTES,
};

/// Calls of one exchange that are carried out at the same time; the others wait.
const CALLS_AT_ONCE: usize = 1024;

/// The coordinator as workers see it.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    pub(crate) driver: Driver,
    pub(crate) terms: LeaseTerms,
    /// When it begins, exchanges take no more calls.
    pub(crate) shutdown: CancellationToken,
}

/// What an attempt needs beside its job: each stage some of it.
#[derive(Debug, Default)]
struct Surroundings {
    champion: Option<ChampionInput>,
    earlier: EarlierDatasets,
    judge_offsets: JudgeOffsets,
    evaluations: u32,
    calibrations: Vec<KnownJudge>,
}

/// A job whose stage was claimed, and what the attempt needs beside it.
type Claimed = (Arc<Job>, Surroundings);
type Answer<T> = Result<Response<T>, Status>;

impl Workers {
    async fn welcome(&self, hello: Hello) -> Result<v1::HelloResponse, DriverError> {
        let Hello { protocol, resources, classes: wanted, .. } = &hello;
        let served = |class: &&ResourceClass| {
            class.is_served_by(resources) && (wanted.is_empty() || wanted.contains(&class.name))
        };
        let classes: Vec<ClassName> =
            self.driver.classes.iter().filter(served).map(|class| class.name.clone()).collect();
        let version = ProtocolRange::OURS.newest_common(*protocol);
        if version.is_some() {
            self.driver.heard_of(&hello, &classes).await?;
        }
        let build = env!("CARGO_PKG_VERSION").to_owned();
        Ok(welcome_to_wire(Welcome { build, protocol: ProtocolRange::OURS, classes }, version))
    }

    /// Looks up what an attempt of `stage` needs; of the job only what was asked for, its version and its results count.
    /// `copy` is its family where that need not be read.
    async fn surroundings(
        &self,
        job: &Job,
        stage: Stage,
        copy: Option<&FamilyAndHead>,
    ) -> Result<Surroundings, DriverError> {
        let driver = &self.driver;
        let none = Surroundings::default();
        Ok(match stage {
            Stage::Ingest => Surroundings { earlier: driver.earlier_datasets(job).await?, ..none },
            Stage::Train => none,
            Stage::Generate | Stage::Rollout => {
                let family = self.family_of(job, copy).await?;
                let champion = family.and_then(|family| champion_for(job, &family));
                Surroundings { champion, ..none }
            }
            Stage::Judge => Surroundings { judge_offsets: driver.judge_offsets().await?, ..none },
            Stage::Gate => {
                let (family, calibrations) =
                    futures::try_join!(self.family_of(job, copy), driver.known_judges())?;
                let evaluations = family.map_or(0, |family| evaluations_before(job, &family));
                Surroundings { evaluations, calibrations, ..none }
            }
        })
    }

    async fn family_of<'a>(
        &self,
        job: &Job,
        copy: Option<&'a FamilyAndHead>,
    ) -> Result<Option<Cow<'a, Family>>, DriverError> {
        if let Some(copy) = copy {
            return Ok(Some(Cow::Borrowed(&copy.family)));
        }
        let stored = self.driver.records.family(&job.spec.family()).await?;
        Ok(stored.map(|stored| Cow::Owned(stored.value)))
    }

    fn grant(&self, job: &Job, stage: Stage, found: Surroundings) -> Result<v1::Grant, DriverError> {
        let record = job.stages.get(stage);
        let StageState::Leased(lease) = &record.state else {
            return Err(Rejected::NotApplicable { state: "not leased" }.into());
        };
        let key = AttemptKey { stage, attempt: record.attempt, fence: lease.fence };
        let Surroundings { champion, earlier, judge_offsets, evaluations, calibrations } = found;
        let assignment = job
            .assignment(key, champion)
            .ok_or(DriverError::Rejected(Rejected::StaleFence { got: key.fence, live: job.fence }))?;
        let assignment = Assignment { earlier, judge_offsets, evaluations, calibrations, ..assignment };
        let lease_ttl = prost_types::Duration::try_from(self.terms.ttl)
            .map_err(|error| DriverError::Invalid(format!("the lease is too long: {error}")))?;
        Ok(v1::Grant { assignment: Some(assignment.into()), lease_ttl: Some(lease_ttl) })
    }

    async fn claim_of(&self, request: v1::ClaimRequest) -> Result<v1::Grant, DriverError> {
        let (job, stage, attempt): (JobId, Stage, Attempt) = claim_key(&request)?;
        let event = Event::Claimed {
            stage,
            attempt,
            worker: request.worker_id,
            claim: request.claim_id,
            terms: self.terms,
        };
        let claimed = self.claim_on_copies(&job, (stage, attempt), event.clone()).await;
        let (job, found) = if let Some(claimed) = claimed {
            claimed?
        } else {
            let job = self.driver.apply(&job, event).await?;
            let found = self.surroundings(&job, stage, None).await?;
            (job, found)
        };
        let record = job.stages.get(stage);
        if let Some((queued, claimed)) = record.queued_at.zip(record.claimed_at) {
            metrics::dispatched(stage, claimed.since(queued));
        }
        self.grant(&job, stage, found)
    }

    /// Claims on the copy of a job, and looks up what the attempt needs beside the commit, which takes as long; `None`
    /// where there is no copy that can be claimed, or it is too old.
    async fn claim_on_copies(
        &self,
        job: &JobId,
        (stage, attempt): (Stage, Attempt),
        event: Event,
    ) -> Option<Result<Claimed, DriverError>> {
        let copies = &self.driver.copies;
        let copy = copies.jobs.get(job.as_str())?;
        let record = copy.value.stages.get(stage);
        if record.attempt != attempt || !matches!(record.state, StageState::Queued { .. }) {
            return None;
        }
        let family = match stage {
            Stage::Generate | Stage::Gate | Stage::Rollout => copies.families.get(&copy.value.spec.family()),
            Stage::Ingest | Stage::Train | Stage::Judge => None,
        };
        let known = family.as_ref().map(|stored| &*stored.value);
        let (claimed, found) = futures::join!(
            self.driver.apply_on_copies(&copy, event, Vec::new(), family.as_ref()),
            self.surroundings(&copy.value, stage, known),
        );
        Some(claimed?.and_then(|job| Ok((job, found?))))
    }

    async fn report(
        &self,
        job: &JobId,
        stage: Stage,
        event: Event,
    ) -> Result<v1::ReportOutcome, DriverError> {
        match self.driver.apply(job, event).await {
            Ok(_) => Ok(v1::ReportOutcome::Accepted),
            Err(DriverError::Rejected(Rejected::Duplicate)) => Ok(v1::ReportOutcome::Duplicate),
            Err(DriverError::Rejected(Rejected::WrongResult { got, expected })) => {
                Err(Rejected::WrongResult { got, expected }.into())
            }
            Err(DriverError::Rejected(reason)) => {
                count_refused(stage, &reason);
                info!(job.id = %job, "refused a report of {job}: {reason}");
                Ok(v1::ReportOutcome::Stale)
            }
            Err(error) => Err(error),
        }
    }

    /// A result that the registry refuses fails its attempt for good, with the reason.
    async fn complete_of(&self, request: v1::CompleteRequest) -> Result<v1::ReportOutcome, DriverError> {
        let (job, key) = key_of(request.key)?;
        let result = request.result.ok_or(DriverError::Invalid("field `result` is missing".into()))?;
        let event = Event::Completed { key, result: Arc::new(result.try_into()?) };
        match self.report(&job, key.stage, event).await {
            Err(error @ (DriverError::Registration(_) | DriverError::Status(_))) => {
                warn!(job.id = %job, "the result of {job} cannot be accepted: {error}");
                let message = error.to_string();
                self.report(&job, key.stage, Event::Failed { key, message, retryable: false }).await
            }
            outcome => outcome,
        }
    }

    /// Carries out one call of an exchange. A panic, or an answer that is too large, concerns this call alone.
    async fn reply_to(
        &self,
        v1::ExchangeRequest { number, call }: v1::ExchangeRequest,
    ) -> v1::ExchangeResponse {
        let failed = |status: Status| {
            let (code, message) = (status.code().into(), status.message().to_owned());
            Reply::Failure(v1::CallFailure { code, message })
        };
        let reply = AssertUnwindSafe(self.carry_out(call)).catch_unwind().await;
        let panicked = |_| Err(Status::internal("the coordinator panicked; this is a fault in Clara"));
        let reply = reply.unwrap_or_else(panicked).unwrap_or_else(failed);
        let response = v1::ExchangeResponse { number, reply: Some(reply) };
        if response.encoded_len() < LARGEST_MESSAGE_BYTES {
            return response;
        }
        let status = Status::out_of_range("the answer is larger than a message may be");
        v1::ExchangeResponse { number, reply: Some(failed(status)) }
    }

    async fn carry_out(&self, call: Option<Call>) -> Result<Reply, Status> {
        Ok(match call {
            Some(Call::Claim(request)) => Reply::Claim(self.claim(Request::new(request)).await?.into_inner()),
            Some(Call::Heartbeat(request)) => {
                Reply::Heartbeat(self.heartbeat(Request::new(request)).await?.into_inner())
            }
            Some(Call::Complete(request)) => {
                Reply::Complete(self.complete(Request::new(request)).await?.into_inner())
            }
            Some(Call::Fail(request)) => Reply::Fail(self.fail(Request::new(request)).await?.into_inner()),
            Some(Call::HandBack(request)) => {
                Reply::HandBack(self.hand_back(Request::new(request)).await?.into_inner())
            }
            None => return Err(Status::unimplemented("this coordinator does not know the call")),
        })
    }
}

fn key_of(key: Option<v1::AttemptKey>) -> Result<(JobId, AttemptKey), DriverError> {
    Ok(key.ok_or(DriverError::Invalid("field `key` is missing".into()))?.try_into()?)
}

#[tonic::async_trait]
impl WorkerService for Workers {
    async fn hello(&self, request: Request<v1::HelloRequest>) -> Answer<v1::HelloResponse> {
        let hello = request.into_inner().try_into().map_err(|error| status_of(&DriverError::from(error)))?;
        Ok(Response::new(self.welcome(hello).await.map_err(|error| status_of(&error))?))
    }

    async fn claim(&self, request: Request<v1::ClaimRequest>) -> Answer<v1::ClaimResponse> {
        let answer = match self.claim_of(request.into_inner()).await {
            Ok(grant) => v1::claim_response::Answer::Grant(Box::new(grant)),
            Err(DriverError::Rejected(reason)) => refusal(&reason),
            Err(error @ DriverError::UnknownJob { .. }) => refusal(&error),
            Err(error) => return Err(status_of(&error)),
        };
        Ok(Response::new(v1::ClaimResponse { answer: Some(answer) }))
    }

    async fn heartbeat(&self, request: Request<v1::HeartbeatRequest>) -> Answer<v1::HeartbeatResponse> {
        let request = request.into_inner();
        let (job, key) = key_of(request.key).map_err(|error| status_of(&error))?;
        let progress = request.progress.ok_or(DriverError::Invalid("field `progress` is missing".into()));
        let progress = progress.map_err(|error| status_of(&error))?;
        let progress = progress.try_into().map_err(|error| status_of(&DriverError::from(error)))?;
        let directive =
            match self.driver.apply(&job, Event::Heartbeat { key, progress, terms: self.terms }).await {
                Ok(_) => v1::Directive::Continue,
                Err(DriverError::Rejected(Rejected::Cancelled)) => v1::Directive::Cancel,
                Err(DriverError::Rejected(reason)) => {
                    count_refused(key.stage, &reason);
                    v1::Directive::Fenced
                }
                Err(DriverError::UnknownJob { .. }) => v1::Directive::Fenced,
                Err(error) => return Err(status_of(&error)),
            };
        Ok(Response::new(v1::HeartbeatResponse { directive: directive.into() }))
    }

    async fn complete(&self, request: Request<v1::CompleteRequest>) -> Answer<v1::CompleteResponse> {
        let outcome = self.complete_of(request.into_inner()).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(v1::CompleteResponse { outcome: outcome.into() }))
    }

    async fn fail(&self, request: Request<v1::FailRequest>) -> Answer<v1::FailResponse> {
        let request = request.into_inner();
        let (job, key) = key_of(request.key).map_err(|error| status_of(&error))?;
        let event = Event::Failed { key, message: request.message, retryable: request.retryable };
        let outcome = self.report(&job, key.stage, event).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(v1::FailResponse { outcome: outcome.into() }))
    }

    async fn hand_back(&self, request: Request<v1::HandBackRequest>) -> Answer<v1::HandBackResponse> {
        let (job, key) = key_of(request.into_inner().key).map_err(|error| status_of(&error))?;
        let outcome = self
            .report(&job, key.stage, Event::HandedBack { key })
            .await
            .map_err(|error| status_of(&error))?;
        Ok(Response::new(v1::HandBackResponse { outcome: outcome.into() }))
    }

    type ExchangeStream = BoxStream<'static, Result<v1::ExchangeResponse, Status>>;

    async fn exchange(&self, calls: Request<Streaming<v1::ExchangeRequest>>) -> Answer<Self::ExchangeStream> {
        let workers = self.clone();
        let calls = calls.into_inner().take_until(self.shutdown.clone().cancelled_owned());
        // An error is the end of the worker, or of the way to it.
        let calls = calls.scan((), |(), call| {
            ready(call.inspect_err(|status| debug!("an exchange with a worker ended: {status}")).ok())
        });
        let replies = calls.map(move |call| {
            let workers = workers.clone();
            // Boxed, since what carries out a call is large and would be moved several times.
            Box::pin(async move { Ok(workers.reply_to(call).await) })
        });
        Ok(Response::new(replies.buffer_unordered(CALLS_AT_ONCE).boxed()))
    }

    async fn append_log(&self, request: Request<v1::AppendLogRequest>) -> Answer<v1::AppendLogResponse> {
        let v1::AppendLogRequest { key, lines } = request.into_inner();
        let (job, key) = key_of(key).map_err(|error| status_of(&error))?;
        let lines: Result<Vec<LogLine>, ConvertError> = lines.into_iter().map(TryInto::try_into).collect();
        let lines = lines.map_err(|error| status_of(&error.into()))?;
        self.driver.append_log(&job, key, lines).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(v1::AppendLogResponse {}))
    }
}

/// Counts what was refused because the attempt had lost its lease; a cancelled job or a wrong result is no such thing.
fn count_refused(stage: Stage, reason: &Rejected) {
    if matches!(
        reason,
        Rejected::StaleAttempt { .. } | Rejected::StaleFence { .. } | Rejected::NotApplicable { .. }
    ) {
        metrics::fence_rejected(stage);
    }
}

fn refusal(reason: &dyn std::fmt::Display) -> v1::claim_response::Answer {
    v1::claim_response::Answer::Refusal(v1::Refusal { reason: reason.to_string() })
}

/// How a failed request looks on the wire; only `UNAVAILABLE` is worth a repetition.
pub(crate) fn status_of(error: &DriverError) -> Status {
    let message = error.to_string();
    match error {
        DriverError::UnknownJob { .. }
        | DriverError::UnknownAdapter { .. }
        | DriverError::UnknownGolden { .. }
        | DriverError::UnknownDataset { .. }
        | DriverError::Review(ReviewError::UnknownSample { .. }) => Status::not_found(message),
        DriverError::Invalid(_) | DriverError::Spec(_) | DriverError::Import(_) => {
            Status::invalid_argument(message)
        }
        DriverError::Rejected(_)
        | DriverError::Registration(_)
        | DriverError::Status(_)
        | DriverError::Rollback(_)
        | DriverError::Rollout(_)
        | DriverError::FourEyes(_)
        | DriverError::Signature(_)
        | DriverError::Alias(
            AliasError::Unknown { .. } | AliasError::NotApproved { .. } | AliasError::FilesRemoved { .. },
        ) => Status::failed_precondition(message),
        DriverError::Review(ReviewError::Conflict { .. }) => Status::aborted(message),
        DriverError::Review(_) => Status::invalid_argument(message),
        DriverError::NotVerified { .. } => Status::data_loss(message),
        DriverError::State(error) if error.is_retryable() => Status::unavailable(message),
        DriverError::State(clara_runtime::state::StateError::Conflict { .. })
        | DriverError::Alias(AliasError::Moved { .. }) => Status::aborted(message),
        DriverError::Record { .. } | DriverError::State(_) => Status::internal(message),
        DriverError::Artifact(_) => Status::unavailable(message),
    }
}

impl From<ConvertError> for DriverError {
    fn from(error: ConvertError) -> Self {
        Self::Invalid(error.to_string())
    }
}

#[cfg(test)]
mod tests;
