//! Jobs: submit, list, cancel, retry, and what they wait for.

use clara_lifecycle::{
    id::{Domain, JobId},
    job::{Event, Job, JobState, Outcome},
    stage::Stage,
    time::Timestamp,
};
use clara_proto::v1;

use super::{Control, library::document};
use crate::{
    driver::DriverError, listing::JobFilter, records::to_json, stored_job::job_key, submit::Submission,
};

impl Control {
    pub(super) async fn submit_job(
        &self,
        request: v1::SubmitJobRequest,
    ) -> Result<v1::SubmitJobResponse, DriverError> {
        let spec = request.spec.ok_or(DriverError::Invalid("field `spec` is missing".into()))?.try_into()?;
        let submission = match (request.dry_run, request.resume_unfinished) {
            (true, _) => Submission::DryRun,
            (false, true) => Submission::ResumeUnfinished,
            (false, false) => Submission::New,
        };
        let submitted = self.driver.submit(spec, self.check.as_deref(), submission).await?;
        let job = submitted.job.as_ref().map(to_wire).transpose()?;
        Ok(v1::SubmitJobResponse { job, created: submitted.created })
    }

    pub(super) async fn get_job(
        &self,
        request: v1::GetJobRequest,
    ) -> Result<v1::GetJobResponse, DriverError> {
        let job = self.driver.records.job(&job_id(&request.job_id)?).await?;
        Ok(v1::GetJobResponse { job: Some(to_wire(&job.value)?) })
    }

    pub(super) async fn list_jobs(
        &self,
        request: v1::ListJobsRequest,
    ) -> Result<v1::ListJobsResponse, DriverError> {
        let domain = request.domain.map(|domain| domain.parse::<Domain>());
        let filter = JobFilter {
            state: request.state.map(state_of).transpose()?,
            domain: domain.transpose().map_err(|error| DriverError::Invalid(error.to_string()))?,
            labels: request.labels.into_iter().collect(),
            limit: request.limit as usize,
            after: request.after_job_id,
        };
        let jobs = self.driver.jobs(filter).await?;
        Ok(v1::ListJobsResponse { jobs: jobs.iter().map(to_wire).collect::<Result<_, _>>()? })
    }

    pub(super) async fn cancel_job(
        &self,
        request: v1::CancelJobRequest,
    ) -> Result<v1::CancelJobResponse, DriverError> {
        let job = self.driver.apply(&job_id(&request.job_id)?, Event::CancelRequested).await?;
        Ok(v1::CancelJobResponse { job: Some(to_wire(&job)?) })
    }

    pub(super) async fn retry_job(
        &self,
        request: v1::RetryJobRequest,
    ) -> Result<v1::RetryJobResponse, DriverError> {
        let from = request.from.map(|number| stage_of("from", number)).transpose()?;
        let id = job_id(&request.job_id)?;
        let job = self.driver.retry(&id, from, request.judge_budget).await?;
        Ok(v1::RetryJobResponse { job: Some(to_wire(&job)?) })
    }

    pub(super) async fn list_queues(
        &self,
        _: v1::ListQueuesRequest,
    ) -> Result<v1::ListQueuesResponse, DriverError> {
        let overview = self.driver.queue_overview(self.broker.as_ref()).await?;
        Ok(v1::ListQueuesResponse { json: document(&overview)? })
    }

    pub(super) async fn explain_job(
        &self,
        request: v1::ExplainJobRequest,
    ) -> Result<v1::ExplainJobResponse, DriverError> {
        let explanation = self.driver.explain(&job_id(&request.job_id)?).await?;
        Ok(v1::ExplainJobResponse { json: document(&explanation)? })
    }
}

pub(super) fn job_id(text: &str) -> Result<JobId, DriverError> {
    text.parse().map_err(|_| DriverError::UnknownJob { job: text.to_owned() })
}

/// The stage that a field of a request names.
pub(super) fn stage_of(field: &str, number: i32) -> Result<Stage, DriverError> {
    let unknown = |_| DriverError::Invalid(format!("field `{field}` has the unknown value {number}"));
    Ok(v1::Stage::try_from(number).map_err(unknown)?.try_into()?)
}

pub(super) fn to_wire(job: &Job) -> Result<v1::Job, DriverError> {
    let stage = match job.state {
        JobState::Waiting { stage } | JobState::Active { stage } | JobState::Stuck { stage } => {
            Some(v1::Stage::from(stage).into())
        }
        JobState::InReview | JobState::Finished { .. } | JobState::Cancelled => None,
    };
    Ok(v1::Job {
        job_id: job.id.to_string(),
        state: state_to_wire(&job.state).into(),
        stage,
        domain: job.spec.domain.to_string(),
        adapter_id: job.adapter_id.clone(),
        submitted_at: Some(time_to_wire(job.submitted_at)),
        changed_at: Some(time_to_wire(job.changed_at)),
        json: to_json(&job_key(&job.id), &job.shown())?,
    })
}

fn state_to_wire(state: &JobState) -> v1::JobState {
    match state {
        JobState::Waiting { .. } => v1::JobState::Waiting,
        JobState::Active { .. } => v1::JobState::Active,
        JobState::Stuck { .. } => v1::JobState::Stuck,
        JobState::InReview => v1::JobState::InReview,
        JobState::Finished { outcome: Outcome::Approved } => v1::JobState::Approved,
        JobState::Finished { outcome: Outcome::Rejected } => v1::JobState::Rejected,
        JobState::Finished { outcome: Outcome::Inconclusive } => v1::JobState::Inconclusive,
        JobState::Finished { outcome: Outcome::Error } => v1::JobState::JudgeError,
        JobState::Cancelled => v1::JobState::Cancelled,
    }
}

/// The name of a state in indexes.
fn state_of(number: i32) -> Result<&'static str, DriverError> {
    match v1::JobState::try_from(number) {
        Ok(v1::JobState::Waiting) => Ok("waiting"),
        Ok(v1::JobState::Active) => Ok("active"),
        Ok(v1::JobState::Stuck) => Ok("stuck"),
        Ok(v1::JobState::InReview) => Ok("in_review"),
        Ok(v1::JobState::Approved) => Ok("approved"),
        Ok(v1::JobState::Rejected) => Ok("rejected"),
        Ok(v1::JobState::Inconclusive) => Ok("inconclusive"),
        Ok(v1::JobState::JudgeError) => Ok("judge_error"),
        Ok(v1::JobState::Cancelled) => Ok("cancelled"),
        Ok(v1::JobState::Unspecified) | Err(_) => {
            Err(DriverError::Invalid(format!("field `state` has the unknown value {number}")))
        }
    }
}

pub(super) fn time_to_wire(at: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(at.0.rem_euclid(1000) * 1_000_000).unwrap_or_default();
    prost_types::Timestamp { seconds: at.0.div_euclid(1000), nanos }
}
