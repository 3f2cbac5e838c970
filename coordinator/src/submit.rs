//! Accepts jobs: validates everything at once, pins the golden dataset, queues the first stage.

use std::fmt;

use clara_lifecycle::{
    attempt::GoldenInput,
    id::JobId,
    job::{Job, JobState},
    spec::{JobSpec, SpecProblem},
};
use uuid::Uuid;

use crate::{
    change::Change,
    driver::{Driver, DriverError, follow},
    records::{JOB, Stored, is_conflict, job_key, submission_key},
};

/// Looks at what only the surroundings know, e.g. whether the base model is there.
pub trait SubmissionCheck: Send + Sync + fmt::Debug {
    /// Everything that speaks against the job; empty when nothing does.
    fn problems(&self, spec: &JobSpec) -> Vec<SpecProblem>;
}

/// How a specification is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Submission {
    /// Only validate.
    DryRun,
    /// Always a new job, unless the idempotency key was used before.
    New,
    /// An unfinished job with the same specification is answered instead of a new one.
    ResumeUnfinished,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Submitted {
    /// `None` after a dry run.
    pub(crate) job: Option<Job>,
    pub(crate) created: bool,
}

impl Driver {
    /// Validates and queues a job.
    pub(crate) async fn submit(
        &self,
        spec: JobSpec,
        check: Option<&dyn SubmissionCheck>,
        submission: Submission,
    ) -> Result<Submitted, DriverError> {
        let golden = self.validated(&spec, check).await?;
        if submission == Submission::DryRun {
            return Ok(Submitted { job: None, created: false });
        }
        if let Some(job) = self.submitted_before(&spec, submission).await? {
            return Ok(Submitted { job: Some(job), created: false });
        }
        match self.create(spec.clone(), golden).await {
            Ok(job) => Ok(Submitted { job: Some(job), created: true }),
            Err(error) if is_conflict(&error) => match self.submitted_before(&spec, submission).await? {
                Some(job) => Ok(Submitted { job: Some(job), created: false }),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// The pinned golden dataset, when nothing speaks against the job.
    async fn validated(
        &self,
        spec: &JobSpec,
        check: Option<&dyn SubmissionCheck>,
    ) -> Result<GoldenInput, DriverError> {
        let mut problems = spec.problems();
        if let Some(check) = check {
            problems.extend(check.problems(spec));
        }
        let family = self.records.family(&spec.family()).await?;
        if let Some(Err(error)) = family.map(|family| family.value.check_version(spec.version.as_ref())) {
            problems.push(SpecProblem { field: "version", message: error.to_string() });
        }
        let golden = match self.pinned_golden(&spec.golden_dataset).await {
            Ok(golden) => Some(golden),
            Err(error @ (DriverError::UnknownGolden { .. } | DriverError::Invalid(_))) => {
                problems.push(SpecProblem { field: "golden_dataset", message: error.to_string() });
                None
            }
            Err(error) => return Err(error),
        };
        match golden {
            Some(golden) if problems.is_empty() => Ok(golden),
            _ => Err(DriverError::Spec(problems)),
        }
    }

    async fn submitted_before(
        &self,
        spec: &JobSpec,
        submission: Submission,
    ) -> Result<Option<Job>, DriverError> {
        if let Some(key) = &spec.idempotency_key
            && let Some(job) = self.records.load::<JobId>(&submission_key(key)).await?
        {
            return Ok(Some(self.records.job(&job.value).await?.value));
        }
        if submission != Submission::ResumeUnfinished {
            return Ok(None);
        }
        let wanted = JobSpec { idempotency_key: None, ..spec.clone() };
        let same = |job: &Job| JobSpec { idempotency_key: None, ..job.spec.clone() } == wanted;
        let unfinished = |job: &Job| {
            matches!(job.state, JobState::Active { .. } | JobState::Stuck { .. } | JobState::InReview)
        };
        let jobs: Vec<Job> = self.records.all(JOB).await?;
        Ok(jobs.into_iter().rev().find(|job| unfinished(job) && same(job)))
    }

    async fn create(&self, spec: JobSpec, golden: GoldenInput) -> Result<Job, DriverError> {
        let id: JobId = format!("job-{}", Uuid::now_v7())
            .parse()
            .map_err(|error: clara_lifecycle::id::InvalidName| DriverError::Invalid(error.to_string()))?;
        let key = spec.idempotency_key.clone();
        let mut change = Change::begin(&self.records).await?;
        let (job, commands) = Job::submit(id.clone(), spec, golden, change.now());
        let job = follow(&mut change, job, commands).await?;
        if let Some(key) = key {
            change.write(submission_key(&key), &Stored { version: None, value: &id })?;
        }
        let stored = Stored { version: None, value: job };
        change.write(job_key(&id), &stored)?;
        change.commit().await?;
        Ok(stored.value)
    }
}

#[cfg(test)]
mod tests;
