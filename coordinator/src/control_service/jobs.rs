//! Jobs: submit, list, cancel, retry.

use clara_lifecycle::{
    id::{Domain, JobId},
    job::{Event, Job, JobState, Outcome},
    time::Timestamp,
};
use clara_proto::v1;

use super::Control;
use crate::{
    driver::DriverError,
    records::{JOB, job_key, to_json},
    submit::Submission,
};

const DEFAULT_PAGE: usize = 100;
const LONGEST_PAGE: usize = 1000;

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
        let limit = match request.limit as usize {
            0 => DEFAULT_PAGE,
            limit if limit <= LONGEST_PAGE => limit,
            limit => {
                return Err(DriverError::Invalid(format!("limit is {limit}; expected 1 to {LONGEST_PAGE}")));
            }
        };
        let domain = request.domain.map(|domain| domain.parse::<Domain>());
        let domain = domain.transpose().map_err(|error| DriverError::Invalid(error.to_string()))?;
        let mut jobs: Vec<Job> = self.driver.records.all(JOB).await?;
        // Job ids grow with time, so the reverse order is newest first.
        jobs.reverse();
        let after = request.after_job_id.as_deref();
        let wanted = |job: &&Job| {
            after.is_none_or(|after| job.id.as_str() < after)
                && domain.as_ref().is_none_or(|domain| job.spec.domain == *domain)
                && request.state.is_none_or(|state| i32::from(state_to_wire(&job.state)) == state)
        };
        let jobs = jobs.iter().filter(wanted).take(limit).map(to_wire).collect::<Result<_, _>>()?;
        Ok(v1::ListJobsResponse { jobs })
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
        let from = match request.from {
            None => None,
            Some(number) => {
                let stage = v1::Stage::try_from(number).map_err(|_| {
                    DriverError::Invalid(format!("field `from` has the unknown value {number}"))
                })?;
                Some(stage.try_into()?)
            }
        };
        let job = self.driver.apply(&job_id(&request.job_id)?, Event::RetryRequested { from }).await?;
        Ok(v1::RetryJobResponse { job: Some(to_wire(&job)?) })
    }
}

pub(super) fn job_id(text: &str) -> Result<JobId, DriverError> {
    text.parse().map_err(|_| DriverError::UnknownJob { job: text.to_owned() })
}

fn to_wire(job: &Job) -> Result<v1::Job, DriverError> {
    let stage = match job.state {
        JobState::Active { stage } | JobState::Stuck { stage } => Some(v1::Stage::from(stage).into()),
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
        json: to_json(&job_key(&job.id), job)?,
    })
}

fn state_to_wire(state: &JobState) -> v1::JobState {
    match state {
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

pub(super) fn time_to_wire(at: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(at.0.rem_euclid(1000) * 1_000_000).unwrap_or_default();
    prost_types::Timestamp { seconds: at.0.div_euclid(1000), nanos }
}
