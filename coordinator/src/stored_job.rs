//! A job as it is stored: how it goes, written with every event, and two kinds of parts, written once: what was asked for,
//! and the result of each stage.

use std::{borrow::Cow, sync::Arc};

use clara_lifecycle::{
    attempt::GoldenInput,
    id::{Fence, JobId},
    job::{Job, StageState},
    results::StageResult,
    spec::JobSpec,
    stage::Stage,
};
use clara_runtime::state::{Body, Part, Record, RecordKey, Write};
use serde::{Deserialize, Serialize};

use crate::{
    driver::DriverError,
    records::{Records, Stored, from_json, to_json},
};
use course::Course;

mod course;
#[cfg(test)]
mod tests;

const JOB: &str = "job";
/// The part that has what was asked for.
const ASKED: &str = "asked";

/// What was asked for; it never changes. A budget that was raised since stands in [`Course`].
#[derive(Debug, Serialize, Deserialize)]
struct Asked<'a> {
    spec: Cow<'a, JobSpec>,
    golden: Cow<'a, GoldenInput>,
}

/// The record that has a job's version.
pub(crate) fn job_key(job: &JobId) -> RecordKey {
    RecordKey::new(JOB, job.as_str())
}

/// What stores a job, which was `before`, over the version that it was loaded with.
pub(crate) fn write(before: Option<&Job>, stored: &Stored<&Job>) -> Result<(Write, Vec<Part>), DriverError> {
    let Stored { version, value: job } = *stored;
    let key = job_key(&job.id);
    let body = Body::Put(to_json(&key, &Course::of(job))?);
    let mut parts = Vec::new();
    if before.is_none() {
        let asked = Asked { spec: Cow::Borrowed(&job.spec), golden: Cow::Borrowed(&job.golden) };
        parts.push((ASKED.to_owned(), to_json(&key, &asked)?));
    }
    for stage in Stage::ALL {
        if let Some((fence, result)) = committed(job, stage)
            && before.and_then(|before| committed(before, stage)).is_none_or(|(earlier, _)| earlier != fence)
        {
            parts.push((part_of(stage), to_json(&key, result)?));
        }
    }
    let part = |(name, body)| Part { record: key.clone(), name, body };
    let parts = parts.into_iter().map(part).collect();
    Ok((Write { key: key.clone(), expected: version, body }, parts))
}

/// The result of a stage, and the fence of the attempt that it is from.
fn committed(job: &Job, stage: Stage) -> Option<(Fence, &StageResult)> {
    match &job.stages.get(stage).state {
        StageState::Succeeded { fence, result, .. } => Some((*fence, result)),
        StageState::Waiting
        | StageState::Queued { .. }
        | StageState::Leased(_)
        | StageState::Failed
        | StageState::Cancelled => None,
    }
}

/// The part that has the newest result of a stage.
fn part_of(stage: Stage) -> String {
    format!("result.{stage}")
}

impl Records {
    /// One job.
    pub(crate) async fn job(&self, job: &JobId) -> Result<Stored<Job>, DriverError> {
        let found = self.jobs(std::slice::from_ref(&job.to_string())).await?.into_iter().next();
        found.unwrap_or_else(|| Err(DriverError::UnknownJob { job: job.to_string() }))
    }

    /// Many jobs; those that are missing are left out, and those that cannot be read are errors of their own.
    pub(crate) async fn jobs(
        &self,
        ids: &[String],
    ) -> Result<Vec<Result<Stored<Job>, DriverError>>, DriverError> {
        let keys: Vec<RecordKey> = ids.iter().map(|id| RecordKey::new(JOB, id)).collect();
        Ok(self.state.load_all(&keys).await?.iter().flatten().map(job_of).collect())
    }
}

fn job_of(record: &Record) -> Result<Stored<Job>, DriverError> {
    let key = format!("{JOB}/{}", record.id);
    let damaged = |reason: String| DriverError::Record { key: key.clone(), reason };
    let part = |name: &str| {
        let missing = || damaged(format!("its part `{name}` is missing"));
        record.parts.get(name).ok_or_else(missing)
    };
    let Asked { spec, golden } = from_json(&key, part(ASKED)?)?;
    let mut course: Course = from_json(&key, &record.body)?;
    let result = |stage: Stage| from_json(&key, part(&part_of(stage))?).map(Arc::new);
    let mut spec = spec.into_owned();
    if let Some((budget, most)) = spec.judge.budget.as_mut().zip(course.judge_budget) {
        budget.most = Some(most);
    }
    let id =
        record.id.parse().map_err(|error: clara_lifecycle::id::InvalidName| damaged(error.to_string()))?;
    let value = Job {
        id,
        spec: Arc::new(spec),
        golden: Arc::new(golden.into_owned()),
        submitted_at: course.submitted_at,
        changed_at: course.changed_at,
        fence: course.fence,
        stages: course.take_stages(result)?,
        state: course.state.into_owned(),
        adapter_id: course.adapter_id.map(Cow::into_owned),
    };
    Ok(Stored { version: Some(record.version), value })
}
