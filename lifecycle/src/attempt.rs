//! What a worker is given for an attempt, and what it tells while it works.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    artifact::ArtifactRef,
    calibration::KnownJudge,
    curve::CurvePoint,
    digest::Digest,
    id::{Attempt, Fence, JobId},
    results::{EarlierDatasets, StageResult},
    score::Criterion,
    spec::JobSpec,
    stage::Stage,
};

/// Everything a worker needs for one attempt of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The job.
    pub job: JobId,
    /// The stage.
    pub stage: Stage,
    /// The attempt.
    pub attempt: Attempt,
    /// The fence that every effect of this attempt carries.
    pub fence: Fence,
    /// What the user asked for.
    pub spec: JobSpec,
    /// The pinned golden dataset.
    pub golden: GoldenInput,
    /// Results of the stages before, in order.
    pub results: Vec<StageResult>,
    /// The version under test, once it is registered.
    pub adapter_id: Option<String>,
    /// The version in production, if any.
    pub champion: Option<ChampionInput>,
    /// The newest checkpoint of this stage, if an earlier attempt left one.
    pub checkpoint: Option<ArtifactRef>,
    /// For the gate: the judges that were compared with human labels.
    #[serde(default)]
    pub calibrations: Vec<KnownJudge>,
    /// What human labels say about the judges, for the stage judge.
    #[serde(default)]
    pub judge_offsets: JudgeOffsets,
    /// Gate stage: how many evaluations of the family with the same golden dataset there were before, repeats of its versions included.
    #[serde(default)]
    pub evaluations: u32,
    /// For the ingest: what was made before.
    #[serde(default)]
    pub earlier: EarlierDatasets,
}

/// By judge id and criterion: what is added to a judge's score (0–10) so that it agrees with people on the mean.
pub type JudgeOffsets = BTreeMap<String, BTreeMap<Criterion, f64>>;

/// A pinned golden dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldenInput {
    /// `id@version`.
    pub reference: String,
    /// Digest of the frozen content.
    pub digest: Digest,
    /// One file, `golden.json`.
    pub artifact: ArtifactRef,
}

/// The version in production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChampionInput {
    /// Its id.
    pub adapter_id: String,
    /// Its PEFT folder.
    pub adapter: ArtifactRef,
}

impl Assignment {
    /// Where this attempt writes: nothing else writes there, and nobody reads it before the commit.
    pub fn prefix(&self, name: &str) -> String {
        format!("jobs/{}/{}/attempt-{}-fence-{}/{name}", self.job, self.stage, self.attempt, self.fence)
    }
}

/// How far an attempt has come.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Grows whenever work was done; the progress deadline watches it.
    pub counter: u64,
    /// Units done, e.g. optimiser steps, documents or samples.
    pub done: u64,
    /// Units in all, where known.
    pub total: Option<u64>,
    /// What the units are, e.g. `steps`.
    pub unit: String,
    /// Figures of the moment, e.g. `loss`, `tokens_per_second`, `seconds_left`.
    pub figures: BTreeMap<String, f64>,
    /// What a training measured since it was last told, newest last; no more than [`Progress::MOST_POINTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<CurvePoint>,
    /// The newest checkpoint.
    pub checkpoint: Option<ArtifactRef>,
    /// What holds the work up at the moment, in words for people; empty while it goes on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Progress {
    /// So many points are told together; where more come between two heartbeats, the oldest are left out.
    pub const MOST_POINTS: usize = 64;

    /// Adds the newest point.
    pub fn measured(&mut self, point: CurvePoint) {
        self.points.push(point);
        self.points.drain(..self.points.len().saturating_sub(Self::MOST_POINTS));
    }
}
