//! Accepts jobs: validates everything at once, pins the golden dataset, queues the first stage.

use std::fmt;

use clara_lifecycle::{
    attempt::GoldenInput,
    id::{ClassName, JobId},
    job::{Event, Job},
    spec::{JobSpec, SpecProblem},
};
use clara_runtime::state::{Limit, Order, Page, StateError};
use uuid::Uuid;

use crate::{
    change::Change,
    driver::{Driver, DriverError, follow},
    indexes,
    records::{Stored, is_conflict, submission_key},
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
        match Box::pin(self.create(spec.clone(), golden)).await {
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
        problems.extend(self.class_problem(&spec.resource_class));
        let unknown = spec.rollout_targets.iter().filter_map(|target| self.targets.get(target).err());
        problems.extend(
            unknown.map(|error| SpecProblem { field: "rollout_targets", message: error.to_string() }),
        );
        if let Some(version) = &spec.version
            && let Some(family) = self.records.family(&spec.family()).await?
            && let Err(error) = family.value.check_version(version)
        {
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

    fn class_problem(&self, class: &ClassName) -> Option<SpecProblem> {
        if self.classes.iter().any(|known| known.name == *class) {
            return None;
        }
        let known: Vec<&str> = self.classes.iter().map(|known| known.name.as_str()).collect();
        let message = format!(
            "`{class}` is not known; expected one of {}, or another one named under [classes] in the coordinators' \
             settings",
            known.join(", ")
        );
        Some(SpecProblem { field: "resource_class", message })
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
        let digest = spec.digest().map_err(|error| DriverError::Invalid(error.to_string()))?;
        let newest = Page { after: None, limit: 1, order: Order::Descending };
        let same = self.records.state.members(&indexes::unfinished(digest.as_str()), &newest).await?;
        match same.first() {
            Some(id) => {
                let found = self.records.jobs(std::slice::from_ref(id)).await?.into_iter().next();
                Ok(found.transpose()?.map(|job| job.value))
            }
            None => Ok(None),
        }
    }

    /// Creates the job: active when there is room and nobody waits, else waiting.
    pub(crate) async fn create(&self, spec: JobSpec, golden: GoldenInput) -> Result<Job, DriverError> {
        match Box::pin(self.create_as(spec.clone(), golden.clone(), true)).await {
            Err(DriverError::State(StateError::LimitReached { .. })) => {
                let job = Box::pin(self.create_as(spec, golden, false)).await;
                self.wake.notify_one();
                job
            }
            created => created,
        }
    }

    async fn create_as(&self, spec: JobSpec, golden: GoldenInput, at_once: bool) -> Result<Job, DriverError> {
        let id: JobId = format!("job-{}", Uuid::now_v7())
            .parse()
            .map_err(|error: clara_lifecycle::id::InvalidName| DriverError::Invalid(error.to_string()))?;
        let key = spec.idempotency_key.clone();
        let mut change = Change::begin(self).await?;
        let (mut job, mut commands) = Job::submit(id.clone(), spec, golden, change.now());
        if at_once {
            let (admitted, more) = job.apply(Event::Admitted, change.now())?;
            job = admitted;
            commands.extend(more);
            change.within(self.schedule.limits(indexes::tenant(&job)));
            change.within(vec![Limit { index: indexes::in_state("waiting"), below: 1 }]);
        }
        let job = follow(&mut change, job, commands).await?;
        if let Some(key) = key {
            change.write(submission_key(&key), &Stored { version: None, value: &id })?;
        }
        change.write_job(None, &Stored { version: None, value: &job })?;
        change.commit().await?;
        Ok(Job::clone(&self.committed(None, job)))
    }
}

#[cfg(test)]
mod tests;
