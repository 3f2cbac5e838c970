//! Writes how a job goes as shortly as it can be: without stages that have not begun and without results.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use clara_lifecycle::{
    artifact::ArtifactRef,
    id::{Attempt, Fence},
    job::{Job, JobState, Lease, StageRecord, StageState, StageTable},
    results::StageResult,
    retry::Failure,
    stage::Stage,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// A job without what was asked for and without its results.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Course<'a> {
    pub(super) submitted_at: Timestamp,
    pub(super) changed_at: Timestamp,
    pub(super) state: Cow<'a, JobState>,
    stages: BTreeMap<Stage, StageCourse<'a>>,
    pub(super) fence: Fence,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) adapter_id: Option<Cow<'a, str>>,
    /// What the judge may spend, where a budget was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) judge_budget: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StageCourse<'a> {
    state: StateCourse<'a>,
    attempt: Attempt,
    #[serde(default, skip_serializing_if = "is_zero")]
    failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_failure: Option<Cow<'a, Failure>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Cow<'a, ArtifactRef>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queued_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claimed_at: Option<Timestamp>,
}

/// A [`StageState`] without its result.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "it lives only while a job is written or read")]
enum StateCourse<'a> {
    Waiting,
    Queued { not_before: Timestamp, republish_at: Timestamp },
    Leased(Cow<'a, Lease>),
    Succeeded { fence: Fence, at: Timestamp },
    Failed,
    Cancelled,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl<'a> Course<'a> {
    pub(super) fn of(job: &'a Job) -> Self {
        let stages = Stage::ALL.into_iter().map(|stage| (stage, job.stages.get(stage)));
        let begun = stages.filter(|(_, record)| **record != StageRecord::default());
        Self {
            submitted_at: job.submitted_at,
            changed_at: job.changed_at,
            state: Cow::Borrowed(&job.state),
            stages: begun.map(|(stage, record)| (stage, StageCourse::of(record))).collect(),
            fence: job.fence,
            adapter_id: job.adapter_id.as_deref().map(Cow::Borrowed),
            judge_budget: job.spec.judge.budget.as_ref().and_then(|budget| budget.most),
        }
    }

    /// Takes the stages out, with the results that `result` finds.
    pub(super) fn take_stages<E>(
        &mut self,
        result: impl Fn(Stage) -> Result<Arc<StageResult>, E>,
    ) -> Result<StageTable, E> {
        StageTable::of(|stage| match self.stages.remove(&stage) {
            Some(course) => course.into_record(|| result(stage)),
            None => Ok(StageRecord::default()),
        })
    }
}

impl<'a> StageCourse<'a> {
    fn of(record: &'a StageRecord) -> Self {
        let StageRecord { state, attempt, failures, last_failure, checkpoint, queued_at, claimed_at } =
            record;
        Self {
            state: StateCourse::of(state),
            attempt: *attempt,
            failures: *failures,
            last_failure: last_failure.as_ref().map(Cow::Borrowed),
            checkpoint: checkpoint.as_ref().map(Cow::Borrowed),
            queued_at: *queued_at,
            claimed_at: *claimed_at,
        }
    }

    /// The record, with the result that `result` finds where there is one.
    fn into_record<E>(self, result: impl FnOnce() -> Result<Arc<StageResult>, E>) -> Result<StageRecord, E> {
        let state = match self.state {
            StateCourse::Waiting => StageState::Waiting,
            StateCourse::Queued { not_before, republish_at } => {
                StageState::Queued { not_before, republish_at }
            }
            StateCourse::Leased(lease) => StageState::Leased(Box::new(lease.into_owned())),
            StateCourse::Succeeded { fence, at } => StageState::Succeeded { fence, at, result: result()? },
            StateCourse::Failed => StageState::Failed,
            StateCourse::Cancelled => StageState::Cancelled,
        };
        Ok(StageRecord {
            state,
            attempt: self.attempt,
            failures: self.failures,
            last_failure: self.last_failure.map(Cow::into_owned),
            checkpoint: self.checkpoint.map(Cow::into_owned),
            queued_at: self.queued_at,
            claimed_at: self.claimed_at,
        })
    }
}

impl<'a> StateCourse<'a> {
    fn of(state: &'a StageState) -> Self {
        match state {
            StageState::Waiting => Self::Waiting,
            StageState::Queued { not_before, republish_at } => {
                Self::Queued { not_before: *not_before, republish_at: *republish_at }
            }
            StageState::Leased(lease) => Self::Leased(Cow::Borrowed(lease)),
            StageState::Succeeded { fence, at, .. } => Self::Succeeded { fence: *fence, at: *at },
            StageState::Failed => Self::Failed,
            StageState::Cancelled => Self::Cancelled,
        }
    }
}
