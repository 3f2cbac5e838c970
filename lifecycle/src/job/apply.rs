//! The one place where a job changes: event in, new job and commands out.

use std::{sync::Arc, time::Duration};

use super::{
    AttemptKey, Command, Event, Job, JobEvent, JobState, Lease, LeaseTerms, Outcome, Rejected, StageState,
    Verdict,
};
use crate::{
    attempt::Progress, gate::Decision, id::Attempt, results::StageResult, retry::Failure, stage::Stage,
    time::Timestamp,
};

/// A task that nobody claimed for so long is published again; a duplicate is harmless, a lost task is not.
const UNCLAIMED: Duration = Duration::from_mins(1);
/// Each wait for a claim is twice as long as the one before, up to this.
const UNCLAIMED_AT_MOST: Duration = Duration::from_hours(1);

type Applied = Result<(Job, Vec<Command>), Rejected>;

impl Job {
    /// What becomes of the job when `event` happens at `now`.
    ///
    /// The same event twice, late or out of order, is refused and changes nothing.
    ///
    /// # Errors
    /// [`Rejected`] says why the event does not apply.
    pub fn apply(&self, event: Event, now: Timestamp) -> Applied {
        let mut job = self.clone();
        let beat = matches!(event, Event::Heartbeat { .. });
        let commands = match event {
            Event::Claimed { stage, attempt, worker, claim, terms } => {
                job.claimed(stage, attempt, (worker, claim), terms, now)
            }
            Event::Heartbeat { key, progress, terms } => job.heartbeat(key, progress, terms, now),
            Event::Completed { key, result } => job.completed(key, &result, now),
            Event::Failed { key, message, retryable } => {
                job.expect_lease(key)?;
                Ok(job.fail(key.stage, message, retryable, now))
            }
            Event::HandedBack { key } => job.handed_back(key, now),
            Event::DeadlinePassed => job.deadline_passed(now),
            Event::Admitted => job.admitted(now),
            Event::Registered { adapter_id } => job.registered(adapter_id),
            Event::CancelRequested => job.cancel(),
            Event::RetryRequested { from } => job.retry(from),
            Event::BudgetRaised { most } => job.raise_budget(most),
            Event::Reviewed { verdict, actor, reason } => job.reviewed(verdict, actor, reason, now),
        }?;
        if !beat {
            job.changed_at = now;
        }
        Ok((job, commands))
    }

    /// Queues the next attempt of `stage`, not before `not_before`.
    pub(super) fn enqueue(&mut self, stage: Stage, not_before: Timestamp) -> [Command; 3] {
        let record = self.stages.get_mut(stage);
        record.attempt = record.attempt.next();
        let republish_at = not_before.after(UNCLAIMED);
        record.state = StageState::Queued { not_before, republish_at };
        record.queued_at = Some(not_before);
        let attempt = record.attempt;
        self.state = JobState::Active { stage };
        [
            Command::Publish { stage, attempt, not_before },
            Command::Watch(Some(republish_at)),
            Command::Record(JobEvent::Queued { stage, attempt, not_before }),
        ]
    }

    /// Whether `key` holds the live lease, or why not.
    fn expect_lease(&self, key: AttemptKey) -> Result<&Lease, Rejected> {
        if self.state == JobState::Cancelled {
            return Err(Rejected::Cancelled);
        }
        let record = self.stages.get(key.stage);
        let live = record.attempt;
        if key.attempt != live {
            return Err(Rejected::StaleAttempt { got: key.attempt, live });
        }
        match &record.state {
            StageState::Leased(lease) if lease.fence == key.fence => Ok(lease.as_ref()),
            StageState::Leased(lease) => Err(Rejected::StaleFence { got: key.fence, live: lease.fence }),
            StageState::Succeeded { fence, .. } if *fence == key.fence => Err(Rejected::Duplicate),
            StageState::Succeeded { fence, .. } => Err(Rejected::StaleFence { got: key.fence, live: *fence }),
            StageState::Waiting | StageState::Queued { .. } | StageState::Failed | StageState::Cancelled => {
                Err(Rejected::NotApplicable { state: self.state.name() })
            }
        }
    }

    fn claimed(
        &mut self,
        stage: Stage,
        attempt: Attempt,
        (worker, claim): (String, String),
        terms: LeaseTerms,
        now: Timestamp,
    ) -> Result<Vec<Command>, Rejected> {
        if self.state == JobState::Cancelled {
            return Err(Rejected::Cancelled);
        }
        let job_is = self.state.name();
        let fence = self.fence.next();
        let record = self.stages.get_mut(stage);
        if record.attempt != attempt {
            return Err(Rejected::StaleAttempt { got: attempt, live: record.attempt });
        }
        match &mut record.state {
            StageState::Queued { .. } => {}
            StageState::Leased(lease) if lease.claim == claim => {
                lease.renew(terms, now);
                return Ok(vec![Command::Watch(Some(lease.next_look()))]);
            }
            StageState::Leased(lease) => return Err(Rejected::AlreadyClaimed { by: lease.worker.clone() }),
            StageState::Succeeded { .. } => return Err(Rejected::Duplicate),
            StageState::Waiting | StageState::Failed | StageState::Cancelled => {
                return Err(Rejected::NotApplicable { state: job_is });
            }
        }
        let progress = Progress { checkpoint: record.checkpoint.clone(), ..Progress::default() };
        let lease = Lease {
            fence,
            worker: worker.clone(),
            claim,
            expires_at: now.after(terms.ttl),
            progress_by: now.after(terms.progress_within),
            progress,
        };
        let look = lease.next_look();
        record.state = StageState::Leased(Box::new(lease));
        record.claimed_at = Some(now);
        self.fence = fence;
        Ok(vec![Command::Watch(Some(look)), Command::Record(JobEvent::Claimed { stage, attempt, worker })])
    }

    fn heartbeat(
        &mut self,
        key: AttemptKey,
        progress: Progress,
        terms: LeaseTerms,
        now: Timestamp,
    ) -> Result<Vec<Command>, Rejected> {
        let mut lease = self.expect_lease(key)?.clone();
        lease.renew(terms, now);
        let moved = progress.counter > lease.progress.counter;
        if moved {
            lease.progress_by = now.after(terms.progress_within);
            // The points live in the event alone: the job is loaded often and must stay small.
            lease.progress = Progress { points: Vec::new(), ..progress.clone() };
        }
        let mut commands = vec![Command::Watch(Some(lease.next_look()))];
        self.stages.get_mut(key.stage).state = StageState::Leased(Box::new(lease));
        if moved {
            if progress.checkpoint.is_some() {
                self.stages.get_mut(key.stage).checkpoint.clone_from(&progress.checkpoint);
            }
            commands.push(Command::Record(JobEvent::Progressed { stage: key.stage, progress }));
        }
        Ok(commands)
    }

    fn completed(
        &mut self,
        key: AttemptKey,
        result: &Arc<StageResult>,
        now: Timestamp,
    ) -> Result<Vec<Command>, Rejected> {
        self.expect_lease(key)?;
        if result.stage() != key.stage {
            return Err(Rejected::WrongResult { got: result.stage(), expected: key.stage });
        }
        let record = self.stages.get_mut(key.stage);
        record.state = StageState::Succeeded { fence: key.fence, at: now, result: Arc::clone(result) };
        let mut commands =
            vec![Command::Watch(None), Command::Record(JobEvent::Succeeded { result: Arc::clone(result) })];
        match &**result {
            StageResult::Train(training) => {
                commands.push(Command::Register(Box::new(training.clone())));
                commands.extend(self.enqueue(Stage::Generate, now));
            }
            StageResult::Gate(report) => {
                let decision = report.decision;
                commands.push(Command::Decide(Box::new(report.clone())));
                commands.extend(self.decided(decision, now));
            }
            StageResult::Rollout(_) => {
                commands.push(Command::Promote);
                commands.push(self.finish(Outcome::Approved));
            }
            StageResult::Ingest(_) => commands.extend(self.enqueue(Stage::Train, now)),
            StageResult::Generate(_) => commands.extend(self.enqueue(Stage::Judge, now)),
            StageResult::Judge(_) => commands.extend(self.enqueue(Stage::Gate, now)),
        }
        Ok(commands)
    }

    fn decided(&mut self, decision: Decision, now: Timestamp) -> Vec<Command> {
        match decision {
            Decision::Approve => self.enqueue(Stage::Rollout, now).into(),
            Decision::Review => {
                self.state = JobState::InReview;
                vec![Command::Record(JobEvent::InReview)]
            }
            Decision::Reject => vec![self.finish(Outcome::Rejected)],
            Decision::Inconclusive => vec![self.finish(Outcome::Inconclusive)],
            Decision::Error => vec![self.finish(Outcome::Error)],
        }
    }

    fn finish(&mut self, outcome: Outcome) -> Command {
        self.state = JobState::Finished { outcome };
        Command::Record(JobEvent::Finished { outcome })
    }

    fn fail(&mut self, stage: Stage, message: String, retryable: bool, now: Timestamp) -> Vec<Command> {
        let policy = self.spec.retry.clone();
        let record = self.stages.get_mut(stage);
        let attempt = record.attempt;
        record.failures = record.failures.saturating_add(1);
        record.last_failure = Some(Failure { attempt, message: message.clone(), retryable });
        let failures = record.failures;
        let mut commands =
            vec![Command::Record(JobEvent::Failed { stage, attempt, message: message.clone() })];
        if retryable && policy.allows_another(failures) {
            commands.extend(self.enqueue(stage, now.after(policy.pause_after(failures))));
        } else {
            record.state = StageState::Failed;
            self.state = JobState::Stuck { stage };
            commands.push(Command::Watch(None));
            commands.push(Command::Record(JobEvent::Stuck { stage, message }));
        }
        commands
    }

    fn handed_back(&mut self, key: AttemptKey, now: Timestamp) -> Result<Vec<Command>, Rejected> {
        self.expect_lease(key)?;
        let event = JobEvent::HandedBack { stage: key.stage, attempt: key.attempt };
        let mut commands = vec![Command::Record(event)];
        commands.extend(self.enqueue(key.stage, now));
        Ok(commands)
    }

    fn deadline_passed(&mut self, now: Timestamp) -> Result<Vec<Command>, Rejected> {
        let JobState::Active { stage } = self.state else { return Err(Rejected::NotDue) };
        let lease = match &self.stages.get(stage).state {
            StageState::Leased(lease) => lease,
            StageState::Queued { not_before, republish_at } => {
                return self.republish(stage, *not_before, *republish_at, now);
            }
            StageState::Waiting
            | StageState::Succeeded { .. }
            | StageState::Failed
            | StageState::Cancelled => return Err(Rejected::NotDue),
        };
        let worker = &lease.worker;
        let message = if now >= lease.expires_at {
            format!("worker {worker} sent no heartbeat before its lease ended; it may have crashed")
        } else if now >= lease.progress_by {
            format!("worker {worker} is alive but made no progress before the deadline; it may hang")
        } else {
            return Err(Rejected::NotDue);
        };
        Ok(self.fail(stage, message, true, now))
    }

    /// Asks for an unclaimed attempt again: its task may be lost, or wait behind others.
    fn republish(
        &mut self,
        stage: Stage,
        not_before: Timestamp,
        republish_at: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Command>, Rejected> {
        if now < republish_at {
            return Err(Rejected::NotDue);
        }
        let waited = now.since(not_before);
        let republish_at = now.after(waited.clamp(UNCLAIMED, UNCLAIMED_AT_MOST));
        let record = self.stages.get_mut(stage);
        record.state = StageState::Queued { not_before, republish_at };
        let attempt = record.attempt;
        Ok(vec![Command::Publish { stage, attempt, not_before: now }, Command::Watch(Some(republish_at))])
    }

    fn admitted(&mut self, now: Timestamp) -> Result<Vec<Command>, Rejected> {
        match self.state {
            JobState::Waiting { stage } => Ok(self.enqueue(stage, now).into()),
            JobState::Active { .. }
            | JobState::Stuck { .. }
            | JobState::InReview
            | JobState::Finished { .. }
            | JobState::Cancelled => Err(Rejected::NotApplicable { state: self.state.name() }),
        }
    }

    fn registered(&mut self, adapter_id: String) -> Result<Vec<Command>, Rejected> {
        if let Some(adapter_id) = &self.adapter_id {
            return Err(Rejected::AlreadyRegistered { adapter_id: adapter_id.clone() });
        }
        let Some(StageResult::Train(_)) = self.result(Stage::Train) else {
            return Err(Rejected::InputMissing { stage: Stage::Generate, missing: Stage::Train });
        };
        self.adapter_id = Some(adapter_id.clone());
        Ok(vec![Command::Record(JobEvent::Registered { adapter_id })])
    }

    fn cancel(&mut self) -> Result<Vec<Command>, Rejected> {
        match self.state {
            JobState::Waiting { .. } | JobState::Active { .. } | JobState::Stuck { .. } => {}
            JobState::Cancelled => return Err(Rejected::Cancelled),
            JobState::InReview | JobState::Finished { .. } => {
                return Err(Rejected::NotApplicable { state: self.state.name() });
            }
        }
        for stage in Stage::ALL {
            let record = self.stages.get_mut(stage);
            if record.result().is_none() {
                record.state = StageState::Cancelled;
            }
        }
        self.state = JobState::Cancelled;
        Ok(vec![Command::Watch(None), Command::Record(JobEvent::Cancelled)])
    }

    fn retry(&mut self, from: Option<Stage>) -> Result<Vec<Command>, Rejected> {
        let refused = Rejected::NotApplicable { state: self.state.name() };
        let anew = from;
        let first_unfinished = Stage::ALL.into_iter().find(|stage| self.result(*stage).is_none());
        let from = match (&self.state, from) {
            (
                JobState::Waiting { .. }
                | JobState::Active { .. }
                | JobState::Finished { outcome: Outcome::Approved },
                _,
            ) => {
                return Err(refused);
            }
            (JobState::Stuck { stage }, None) => *stage,
            (JobState::Cancelled, None) => first_unfinished.ok_or(refused)?,
            (JobState::InReview | JobState::Finished { .. }, None) => Stage::Judge,
            (
                JobState::Stuck { .. } | JobState::InReview | JobState::Finished { .. } | JobState::Cancelled,
                Some(stage),
            ) => stage,
        };
        if let (Stage::Ingest | Stage::Train, Some(adapter_id)) = (from, &self.adapter_id) {
            return Err(Rejected::AlreadyRegistered { adapter_id: adapter_id.clone() });
        }
        if let Some(missing) = first_unfinished.filter(|missing| *missing < from) {
            return Err(Rejected::InputMissing { stage: from, missing });
        }
        for stage in Stage::ALL.into_iter().filter(|stage| *stage >= from) {
            let record = self.stages.get_mut(stage);
            record.state = StageState::Waiting;
            record.failures = 0;
            // A stage that is named, or whose input is made anew, starts from its beginning.
            if stage > from || anew.is_some() {
                record.checkpoint = None;
            }
        }
        self.state = JobState::Waiting { stage: from };
        Ok(vec![Command::Watch(None), Command::Record(JobEvent::Retried { from })])
    }

    fn reviewed(
        &mut self,
        verdict: Verdict,
        actor: String,
        reason: String,
        now: Timestamp,
    ) -> Result<Vec<Command>, Rejected> {
        match self.state {
            JobState::InReview => {}
            JobState::Waiting { .. }
            | JobState::Active { .. }
            | JobState::Stuck { .. }
            | JobState::Finished { .. }
            | JobState::Cancelled => {
                return Err(Rejected::NotApplicable { state: self.state.name() });
            }
        }
        let event = JobEvent::Reviewed { verdict, actor: actor.clone(), reason: reason.clone() };
        let mut commands = vec![Command::Record(event), Command::Review { verdict, actor, reason }];
        match verdict {
            Verdict::Approve => commands.extend(self.enqueue(Stage::Rollout, now)),
            Verdict::Reject => commands.push(self.finish(Outcome::Rejected)),
        }
        Ok(commands)
    }
}

impl Lease {
    fn renew(&mut self, terms: LeaseTerms, now: Timestamp) {
        self.expires_at = now.after(terms.ttl);
    }

    fn next_look(&self) -> Timestamp {
        self.expires_at.min(self.progress_by)
    }
}
