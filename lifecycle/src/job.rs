//! A job: one pass of the pipeline for one adapter version, changed only by [`Job::apply`].

mod apply;
mod budget;
mod event;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    artifact::ArtifactRef,
    attempt::{Assignment, ChampionInput, GoldenInput, JudgeOffsets, Progress},
    gate::Decision,
    id::{Attempt, Fence, JobId},
    results::{EarlierDatasets, StageResult},
    retry::Failure,
    spec::JobSpec,
    stage::Stage,
    time::Timestamp,
};

pub use event::{AttemptKey, Command, Event, JobEvent, LeaseTerms, Rejected, Verdict};

/// One pass of the pipeline for one adapter version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What the user asked for.
    #[serde(with = "crate::shared")]
    pub spec: Arc<JobSpec>,
    /// The golden dataset, pinned at submission.
    #[serde(with = "crate::shared")]
    pub golden: Arc<GoldenInput>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it last changed, heartbeats aside.
    pub changed_at: Timestamp,
    /// Where it stands.
    pub state: JobState,
    /// Its stages, in order.
    pub stages: StageTable,
    /// The fence of the newest claim; grows with every claim.
    pub fence: Fence,
    /// The registered version, once the training was accepted.
    pub adapter_id: Option<String>,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobState {
    /// Its next stage is queued when the scheduler admits it.
    Waiting {
        /// That stage.
        stage: Stage,
    },
    /// One stage is queued or leased.
    Active {
        /// That stage.
        stage: Stage,
    },
    /// A stage failed for good; the job waits for a retry.
    Stuck {
        /// That stage.
        stage: Stage,
    },
    /// The gate asked for a human; no worker is held.
    InReview,
    /// It is over.
    Finished {
        /// How it ended.
        outcome: Outcome,
    },
    /// A user ended it.
    Cancelled,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The version was approved and is the champion.
    Approved,
    /// The version was rejected.
    Rejected,
    /// There was too little evidence to decide.
    Inconclusive,
    /// The judge failed; nothing was decided.
    Error,
}

/// The stages of a job, in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StageTable {
    ingest: StageRecord,
    train: StageRecord,
    generate: StageRecord,
    judge: StageRecord,
    gate: StageRecord,
    rollout: StageRecord,
}

/// One stage of a job.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StageRecord {
    /// Where it stands.
    pub state: StageState,
    /// The newest attempt that was queued; 0 before the first.
    pub attempt: Attempt,
    /// Failed attempts since the job was submitted or resumed.
    pub failures: u32,
    /// The newest failure.
    pub last_failure: Option<Failure>,
    /// The newest checkpoint.
    pub checkpoint: Option<ArtifactRef>,
    /// From when on the newest attempt could be claimed.
    #[serde(default)]
    pub queued_at: Option<Timestamp>,
    /// When the newest attempt was claimed.
    pub claimed_at: Option<Timestamp>,
}

/// Where a stage stands; each variant holds only what is true in it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StageState {
    /// Stages before it are not done.
    #[default]
    Waiting,
    /// An attempt waits for a worker.
    Queued {
        /// Earliest start.
        not_before: Timestamp,
        /// Unclaimed by then, its task is taken for lost and published again.
        #[serde(default)]
        republish_at: Timestamp,
    },
    /// A worker has it.
    Leased(Box<Lease>),
    /// Its result is committed.
    Succeeded {
        /// The fence of the attempt that committed it.
        fence: Fence,
        /// When it was committed.
        at: Timestamp,
        /// The result.
        #[serde(with = "crate::shared")]
        result: Arc<StageResult>,
    },
    /// It failed for good; a retry queues it again.
    Failed,
    /// A user ended the job before it was done.
    Cancelled,
}

/// A worker's right to an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Every effect of the attempt carries it.
    pub fence: Fence,
    /// Who claimed it: the worker's name.
    pub worker: String,
    /// Names the claim, so that a repeated claim call is granted again and a second one refused.
    pub claim: String,
    /// The attempt is lost when no heartbeat came by then.
    pub expires_at: Timestamp,
    /// The attempt is lost when the progress counter did not grow by then.
    pub progress_by: Timestamp,
    /// How far it has come.
    pub progress: Progress,
}

impl JobState {
    /// The state for people and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Active { .. } => "active",
            Self::Stuck { .. } => "stuck",
            Self::InReview => "in review",
            Self::Finished { .. } => "finished",
            Self::Cancelled => "cancelled",
        }
    }
}

impl StageTable {
    /// The table whose stages `record` tells.
    ///
    /// # Errors
    /// The first of its errors.
    pub fn of<E>(mut record: impl FnMut(Stage) -> Result<StageRecord, E>) -> Result<Self, E> {
        Ok(Self {
            ingest: record(Stage::Ingest)?,
            train: record(Stage::Train)?,
            generate: record(Stage::Generate)?,
            judge: record(Stage::Judge)?,
            gate: record(Stage::Gate)?,
            rollout: record(Stage::Rollout)?,
        })
    }

    /// One stage.
    pub fn get(&self, stage: Stage) -> &StageRecord {
        match stage {
            Stage::Ingest => &self.ingest,
            Stage::Train => &self.train,
            Stage::Generate => &self.generate,
            Stage::Judge => &self.judge,
            Stage::Gate => &self.gate,
            Stage::Rollout => &self.rollout,
        }
    }

    fn get_mut(&mut self, stage: Stage) -> &mut StageRecord {
        match stage {
            Stage::Ingest => &mut self.ingest,
            Stage::Train => &mut self.train,
            Stage::Generate => &mut self.generate,
            Stage::Judge => &mut self.judge,
            Stage::Gate => &mut self.gate,
            Stage::Rollout => &mut self.rollout,
        }
    }
}

impl StageRecord {
    /// The committed result.
    pub fn result(&self) -> Option<&StageResult> {
        match &self.state {
            StageState::Succeeded { result, .. } => Some(result),
            StageState::Waiting
            | StageState::Queued { .. }
            | StageState::Leased(_)
            | StageState::Failed
            | StageState::Cancelled => None,
        }
    }
}

impl Job {
    /// The same as it may be shown: without the secrets in its URLs, which its workers need.
    #[must_use]
    pub fn shown(&self) -> Self {
        Self { spec: Arc::new(self.spec.shown()), ..self.clone() }
    }

    /// A new job, to be admitted.
    pub fn submit(id: JobId, spec: JobSpec, golden: GoldenInput, now: Timestamp) -> (Self, Vec<Command>) {
        let job = Self {
            id,
            spec: Arc::new(spec),
            golden: Arc::new(golden),
            submitted_at: now,
            changed_at: now,
            state: JobState::Waiting { stage: Stage::Ingest },
            stages: StageTable::default(),
            fence: Fence::default(),
            adapter_id: None,
        };
        (job, vec![Command::Record(JobEvent::Submitted)])
    }

    /// The committed result of a stage.
    pub fn result(&self, stage: Stage) -> Option<&StageResult> {
        self.stages.get(stage).result()
    }

    /// Whether nothing more happens without a user.
    pub fn is_at_rest(&self) -> bool {
        match self.state {
            JobState::Waiting { .. } | JobState::Active { .. } => false,
            JobState::Stuck { .. } | JobState::InReview | JobState::Finished { .. } | JobState::Cancelled => {
                true
            }
        }
    }

    /// The gate's decision, once there is one.
    pub fn decision(&self) -> Option<Decision> {
        match self.result(Stage::Gate) {
            Some(StageResult::Gate(report)) => Some(report.decision),
            Some(
                StageResult::Ingest(_)
                | StageResult::Train(_)
                | StageResult::Generate(_)
                | StageResult::Judge(_)
                | StageResult::Rollout(_),
            )
            | None => None,
        }
    }

    /// What the worker that holds `key` needs; `None` when the key holds no lease.
    pub fn assignment(&self, key: AttemptKey, champion: Option<ChampionInput>) -> Option<Assignment> {
        let record = self.stages.get(key.stage);
        let StageState::Leased(lease) = &record.state else { return None };
        if lease.fence != key.fence || record.attempt != key.attempt {
            return None;
        }
        Some(Assignment {
            job: self.id.clone(),
            stage: key.stage,
            attempt: key.attempt,
            fence: key.fence,
            spec: JobSpec::clone(&self.spec),
            golden: GoldenInput::clone(&self.golden),
            results: Stage::ALL.into_iter().filter_map(|stage| self.result(stage).cloned()).collect(),
            adapter_id: self.adapter_id.clone(),
            champion,
            checkpoint: record.checkpoint.clone(),
            calibrations: Vec::new(),
            judge_offsets: JudgeOffsets::new(),
            evaluations: 0,
            earlier: EarlierDatasets::default(),
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Inconclusive => "inconclusive",
            Self::Error => "error",
        })
    }
}
