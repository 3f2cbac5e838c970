//! Stores a job: how it goes with every event; what was asked for, and the result of each stage, once, as parts.

use std::{borrow::Cow, sync::Arc};

use clara_lifecycle::{
    attempt::GoldenInput,
    id::{Fence, JobId},
    job::{Job, StageState},
    results::StageResult,
    spec::JobSpec,
    stage::Stage,
};
use clara_runtime::state::{Body, Record, RecordKey, Write};
use serde::{Deserialize, Serialize};

use crate::{
    driver::DriverError,
    records::{JOB, Records, Stored, from_json, part, to_json},
};
use course::Course;

mod course;
#[cfg(test)]
mod tests;

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
pub(crate) fn write(before: Option<&Job>, stored: &Stored<&Job>) -> Result<Write, DriverError> {
    let Stored { version, value: job } = *stored;
    let key = job_key(&job.id);
    let body = to_json(&key, &Course::of(job))?;
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
    Ok(Write { key, expected: version, body: Body::Put { body, parts } })
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
    let Asked { spec, golden } = part(JOB, record, ASKED)?;
    let mut course: Course = from_json(&key, &record.body)?;
    let result = |stage: Stage| part(JOB, record, &part_of(stage)).map(Arc::new);
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
