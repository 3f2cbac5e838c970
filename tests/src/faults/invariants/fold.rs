//! What a job's events tell of it, and where they contradict themselves or its record.

use std::collections::BTreeMap;

use clara_lifecycle::{
    artifact::ArtifactRef,
    id::{Attempt, Fence},
    job::{Job, JobEvent, JobState, StageState},
    results::StageResult,
    stage::Stage,
};

use super::{Invariant, Violation, fence_of, violation};

/// A job as its events tell it.
#[derive(Debug)]
pub(super) struct Folded {
    max_attempts: u32,
    state: Option<JobState>,
    stages: BTreeMap<Stage, FoldedStage>,
    fence: Fence,
    adapter_id: Option<String>,
    /// The stage of the newest retry: whether it was named, and so lost its checkpoint, is in no event.
    retried: Option<Stage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct FoldedStage {
    phase: Phase,
    attempt: Attempt,
    failures: u32,
    checkpoint: Option<ArtifactRef>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Waiting,
    Queued,
    Leased(Fence),
    Succeeded(Fence),
    Failed,
    Cancelled,
}

impl Phase {
    fn of(state: &StageState) -> Self {
        match state {
            StageState::Waiting => Self::Waiting,
            StageState::Queued { .. } => Self::Queued,
            StageState::Leased(lease) => Self::Leased(lease.fence),
            StageState::Succeeded { fence, .. } => Self::Succeeded(*fence),
            StageState::Failed => Self::Failed,
            StageState::Cancelled => Self::Cancelled,
        }
    }
}

impl Folded {
    pub(super) fn new(max_attempts: u32) -> Self {
        let stages = Stage::ALL.into_iter().map(|stage| (stage, FoldedStage::default())).collect();
        Self { max_attempts, state: None, stages, fence: Fence::default(), adapter_id: None, retried: None }
    }

    /// The fence of the newest claim.
    pub(super) fn fence(&self) -> Fence {
        self.fence
    }

    /// Lets the next event happen. Answers what is wrong with it.
    pub(super) fn follow(&mut self, event: &JobEvent) -> Vec<Violation> {
        let mut found = Vec::new();
        let is_over = matches!(self.state, Some(JobState::Finished { .. } | JobState::Cancelled));
        if is_over && !matches!(event, JobEvent::Retried { .. }) {
            found.push(violation(Invariant::EndsOnce, format!("{event:?} after the end")));
        }
        match event {
            JobEvent::Submitted => self.state = Some(JobState::Waiting { stage: Stage::Ingest }),
            JobEvent::Queued { stage, attempt, .. } => found.extend(self.queued(*stage, *attempt)),
            JobEvent::Claimed { stage, attempt, .. } => found.extend(self.claimed(*stage, *attempt)),
            JobEvent::Progressed { stage, progress } => {
                if progress.checkpoint.is_some() {
                    self.retried = self.retried.filter(|retried| retried != stage);
                    self.stage(*stage).checkpoint.clone_from(&progress.checkpoint);
                }
            }
            JobEvent::Succeeded { result } => found.extend(self.succeeded(result)),
            JobEvent::Failed { stage, attempt, .. } => found.extend(self.failed(*stage, *attempt)),
            JobEvent::HandedBack { stage, attempt } => found.extend(self.live(*stage, *attempt)),
            JobEvent::Stuck { stage, .. } => {
                self.stage(*stage).phase = Phase::Failed;
                self.state = Some(JobState::Stuck { stage: *stage });
            }
            JobEvent::Registered { adapter_id } => {
                if let Some(before) = self.adapter_id.replace(adapter_id.clone()) {
                    let what = format!("registered as {before} and as {adapter_id}");
                    found.push(violation(Invariant::OneResult, what));
                }
            }
            JobEvent::InReview => self.state = Some(JobState::InReview),
            JobEvent::Reviewed { .. } | JobEvent::BudgetRaised { .. } => {}
            JobEvent::Cancelled => self.cancelled(),
            JobEvent::Retried { from } => self.retried(*from),
            JobEvent::Finished { outcome } => self.state = Some(JobState::Finished { outcome: *outcome }),
        }
        found
    }

    /// What differs between the record and the events, and whether the job ended.
    pub(super) fn compare(&self, job: &Job) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut differs = |what: &str, folded: String, stored: String| {
            if folded != stored {
                let what = format!("{what} is {stored}, the events tell {folded}");
                found.push(violation(Invariant::RecordIsFold, what));
            }
        };
        differs("its state", format!("{:?}", self.state), format!("{:?}", Some(&job.state)));
        differs("its fence", self.fence.to_string(), job.fence.to_string());
        differs("its adapter", format!("{:?}", self.adapter_id), format!("{:?}", job.adapter_id));
        for (stage, folded) in &self.stages {
            let record = job.stages.get(*stage);
            let stored = FoldedStage {
                phase: Phase::of(&record.state),
                attempt: record.attempt,
                failures: record.failures,
                checkpoint: record.checkpoint.clone(),
            };
            let mut folded = folded.clone();
            if self.retried == Some(*stage) && stored.checkpoint.is_none() {
                folded.checkpoint = None;
            }
            differs(&format!("stage {stage}"), format!("{folded:?}"), format!("{stored:?}"));
        }
        for stage in Stage::ALL {
            if let Phase::Leased(fence) = Phase::of(&job.stages.get(stage).state) {
                let what = format!("stage {stage} is still leased (fence {fence})");
                found.push(violation(Invariant::EmptyAtRest, what));
            }
        }
        if !matches!(job.state, JobState::Finished { .. } | JobState::Cancelled) {
            let what = format!("accepted and not ended: {:?}", job.state);
            found.push(violation(Invariant::EndsOnce, what));
        }
        found
    }

    fn stage(&mut self, stage: Stage) -> &mut FoldedStage {
        self.stages.entry(stage).or_default()
    }

    fn queued(&mut self, stage: Stage, attempt: Attempt) -> Option<Violation> {
        let missing = self.missing_input(stage);
        let record = self.stage(stage);
        let wrong = record.attempt.next() != attempt;
        record.attempt = attempt;
        let before = std::mem::replace(&mut record.phase, Phase::Queued);
        self.state = Some(JobState::Active { stage });
        if matches!(before, Phase::Succeeded(_)) {
            return Some(violation(
                Invariant::OneResult,
                format!("{stage} was queued again after its result"),
            ));
        }
        if wrong {
            let what = format!("{stage} was queued as attempt {attempt}, out of turn");
            return Some(violation(Invariant::AttemptsWithinPolicy, what));
        }
        missing
    }

    fn claimed(&mut self, stage: Stage, attempt: Attempt) -> Option<Violation> {
        let missing = self.missing_input(stage);
        self.fence = self.fence.next();
        let fence = self.fence;
        let record = self.stage(stage);
        let before = std::mem::replace(&mut record.phase, Phase::Leased(fence));
        if before != Phase::Queued || record.attempt != attempt {
            let what = format!("attempt {attempt} of {stage} was claimed while it was {before:?}");
            return Some(violation(Invariant::InputsFirst, what));
        }
        missing
    }

    fn missing_input(&self, stage: Stage) -> Option<Violation> {
        let is_missing = |before: &Stage| {
            !matches!(self.stages.get(before).map(|record| record.phase), Some(Phase::Succeeded(_)))
        };
        let missing = Stage::ALL.into_iter().filter(|before| *before < stage).find(is_missing)?;
        let what = format!("{stage} went on without a result of {missing}");
        Some(violation(Invariant::InputsFirst, what))
    }

    fn succeeded(&mut self, result: &StageResult) -> Option<Violation> {
        let (stage, newest) = (result.stage(), self.fence);
        let record = self.stage(stage);
        let before = record.phase;
        record.phase = Phase::Succeeded(newest);
        match before {
            Phase::Leased(fence) => {
                let committed = fence_of(result).unwrap_or(fence);
                let what = format!("{stage} was committed with fence {committed}; the newest is {newest}");
                (committed != newest).then(|| violation(Invariant::NewestFence, what))
            }
            Phase::Succeeded(fence) => {
                let what = format!("{stage} was committed twice, first with fence {fence}");
                Some(violation(Invariant::OneResult, what))
            }
            Phase::Waiting | Phase::Queued | Phase::Failed | Phase::Cancelled => {
                let what =
                    format!("{stage} was committed while it was {before:?}: by an attempt without a lease");
                Some(violation(Invariant::NewestFence, what))
            }
        }
    }

    fn failed(&mut self, stage: Stage, attempt: Attempt) -> Option<Violation> {
        let unleased = self.live(stage, attempt);
        let max_attempts = self.max_attempts;
        let record = self.stage(stage);
        record.failures += 1;
        let failures = record.failures;
        let what = format!("{failures} attempts of {stage} failed, {max_attempts} are allowed");
        (failures > max_attempts).then(|| violation(Invariant::AttemptsWithinPolicy, what)).or(unleased)
    }

    /// Whether the attempt that reports its end held the lease.
    fn live(&mut self, stage: Stage, attempt: Attempt) -> Option<Violation> {
        let record = self.stage(stage);
        let is_live = record.attempt == attempt && matches!(record.phase, Phase::Leased(_));
        let what = format!("attempt {attempt} of {stage} ended without a lease: {:?}", record.phase);
        (!is_live).then(|| violation(Invariant::NewestFence, what))
    }

    fn cancelled(&mut self) {
        for record in self.stages.values_mut().filter(|record| !matches!(record.phase, Phase::Succeeded(_))) {
            record.phase = Phase::Cancelled;
        }
        self.state = Some(JobState::Cancelled);
    }

    fn retried(&mut self, from: Stage) {
        self.retried = Some(from);
        for (stage, record) in self.stages.iter_mut().filter(|(stage, _)| **stage >= from) {
            record.phase = Phase::Waiting;
            record.failures = 0;
            if *stage > from {
                record.checkpoint = None;
            }
        }
        self.state = Some(JobState::Waiting { stage: from });
    }
}
