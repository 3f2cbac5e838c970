//! A job in two records: what was asked for, written once, and how it goes, written with every event.

use std::{borrow::Cow, sync::Arc};

use clara_lifecycle::{
    attempt::GoldenInput,
    id::{Fence, JobId},
    job::{Job, JobState, StageTable},
    spec::JobSpec,
    time::Timestamp,
};
use clara_runtime::state::{Body, Record, RecordKey, Write};
use serde::{Deserialize, Serialize};

use crate::{
    driver::DriverError,
    records::{Records, Stored, from_json, to_json},
};

const JOB: &str = "job";
const ASKED: &str = "job_spec";

/// What was asked for; it never changes, and is the larger part. A budget that was raised since stands in [`Course`].
#[derive(Debug, Serialize, Deserialize)]
struct Asked<'a> {
    spec: Cow<'a, JobSpec>,
    golden: Cow<'a, GoldenInput>,
}

/// How the job goes.
#[derive(Debug, Serialize, Deserialize)]
struct Course<'a> {
    submitted_at: Timestamp,
    changed_at: Timestamp,
    state: Cow<'a, JobState>,
    stages: Cow<'a, StageTable>,
    fence: Fence,
    adapter_id: Cow<'a, Option<String>>,
    /// What the judge may spend, where a budget was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    judge_budget: Option<f64>,
}

/// The record that has a job's version.
pub(crate) fn job_key(job: &JobId) -> RecordKey {
    RecordKey::new(JOB, job.as_str())
}

/// The writes that store a job over the version that it was loaded with.
pub(crate) fn writes(stored: &Stored<&Job>) -> Result<Vec<Write>, DriverError> {
    let Stored { version, value: job } = *stored;
    let course = Course {
        submitted_at: job.submitted_at,
        changed_at: job.changed_at,
        state: Cow::Borrowed(&job.state),
        stages: Cow::Borrowed(&job.stages),
        fence: job.fence,
        adapter_id: Cow::Borrowed(&job.adapter_id),
        judge_budget: job.spec.judge.budget.as_ref().and_then(|budget| budget.most),
    };
    let mut writes = vec![put(job_key(&job.id), version, &course)?];
    if version.is_none() {
        let asked = Asked { spec: Cow::Borrowed(&job.spec), golden: Cow::Borrowed(&job.golden) };
        writes.push(put(RecordKey::new(ASKED, job.id.as_str()), None, &asked)?);
    }
    Ok(writes)
}

/// The writes that remove a job that was loaded with `version`.
pub(crate) fn removal(job: &JobId, version: Option<u64>) -> Vec<Write> {
    // What was asked for is written once and never again.
    let asked = Write { key: RecordKey::new(ASKED, job.as_str()), expected: Some(1), body: Body::Remove };
    vec![Write { key: job_key(job), expected: version, body: Body::Remove }, asked]
}

fn put<T: Serialize>(key: RecordKey, expected: Option<u64>, value: &T) -> Result<Write, DriverError> {
    let body = Body::Put(to_json(&key, value)?);
    Ok(Write { key, expected, body })
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
        let keys: Vec<RecordKey> =
            ids.iter().flat_map(|id| [RecordKey::new(JOB, id), RecordKey::new(ASKED, id)]).collect();
        let mut records = self.state.load_all(&keys).await?.into_iter().peekable();
        let mut jobs = Vec::with_capacity(ids.len());
        while let Some(course) = records.next() {
            let asked = records.next_if(|asked| asked.id == course.id);
            jobs.push(job_of(&course, asked.as_ref()));
        }
        Ok(jobs)
    }
}

fn job_of(course: &Record, asked: Option<&Record>) -> Result<Stored<Job>, DriverError> {
    let key = format!("{JOB}/{}", course.id);
    let damaged = |reason: String| DriverError::Record { key: key.clone(), reason };
    let asked = asked.ok_or_else(|| damaged(format!("its record {ASKED}/{} is missing", course.id)))?;
    let Asked { spec, golden } = from_json(&format!("{ASKED}/{}", course.id), &asked.body)?;
    let Course { submitted_at, changed_at, state, stages, fence, adapter_id, judge_budget } =
        from_json(&key, &course.body)?;
    let mut spec = spec.into_owned();
    if let Some((budget, most)) = spec.judge.budget.as_mut().zip(judge_budget) {
        budget.most = Some(most);
    }
    let job = Job {
        id: course
            .id
            .parse()
            .map_err(|error: clara_lifecycle::id::InvalidName| damaged(error.to_string()))?,
        spec: Arc::new(spec),
        golden: Arc::new(golden.into_owned()),
        submitted_at,
        changed_at,
        state: state.into_owned(),
        stages: stages.into_owned(),
        fence,
        adapter_id: adapter_id.into_owned(),
    };
    Ok(Stored { version: Some(course.version), value: job })
}
