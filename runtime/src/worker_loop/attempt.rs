//! One claimed attempt: scratch folder, handler, heartbeat, stop, report.

use std::{future::Future, sync::Arc, time::Duration};

use clara_lifecycle::{
    attempt::{Assignment, Progress},
    results::StageResult,
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::watch,
    task::{JoinError, JoinHandle, block_in_place},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Worker,
    heartbeat::Heartbeat,
    log_sender::LogSender,
    report::{Report, report},
    scratch,
};
use crate::{
    coordinator_client::ClaimedAttempt,
    metrics::{self, AttemptOutcome},
    stop::{StopReason, StopSignal, StopSwitch, stop_switch},
    task::panic_message,
    trace::TraceContext,
    worker::{AttemptContext, ProgressSender, StageFailure},
};

/// A claimed attempt before it is carried out.
pub(super) struct Attempt<'a> {
    worker: &'a Worker,
    name: ClaimedAttempt,
    lease_ttl: Duration,
    claimed_at: Instant,
    stop: Arc<StopSwitch>,
    signal: StopSignal,
}

impl<'a> Attempt<'a> {
    /// The attempt of this name, claimed by a call that began at `claimed_at`.
    pub(super) fn new(
        worker: &'a Worker,
        name: ClaimedAttempt,
        lease_ttl: Duration,
        claimed_at: Instant,
    ) -> Self {
        let (stop, signal) = stop_switch();
        Self { worker, name, lease_ttl, claimed_at, stop: Arc::new(stop), signal }
    }

    /// Carries out what was assigned and reports how it ended.
    pub(super) async fn carry_out(self, assignment: Assignment) {
        let key = self.name.key;
        let trace_id = TraceContext::of_job(&self.name.job).trace_id();
        let span = tracing::info_span!(
            "stage.attempt", trace.id = %trace_id, job.id = %self.name.job, stage = %key.stage, attempt = %key.attempt, fence = %key.fence
        );
        async {
            metrics::attempt_began(key.stage);
            tracing::info!("began {}", self.name);
            let outcome = self.under_lease(assignment).await;
            let duration = self.claimed_at.elapsed();
            metrics::attempt_ended(key.stage, outcome, duration);
            let duration_ms = duration.as_millis();
            tracing::info!(duration_ms, "ended {}: {outcome:?}", self.name);
        }
        .instrument(span)
        .await;
    }

    async fn under_lease(&self, assignment: Assignment) -> AttemptOutcome {
        let (progress, latest) = ProgressSender::new();
        let heartbeat = Heartbeat {
            coordinator: self.worker.coordinator.clone(),
            attempt: self.name.clone(),
            progress: latest.clone(),
            stop: self.stop.clone(),
            renewed_at: self.claimed_at,
            lease_ttl: self.lease_ttl,
            every: (self.lease_ttl / 3).min(self.worker.options.heartbeat_at_least_every),
        };
        // On a task of its own: the handler may compute as long as it likes.
        let heartbeat = self.worker.tasks.spawn("worker.heartbeat", heartbeat.keep().in_current_span());
        let logs = LogSender::new(self.worker.coordinator.clone(), self.name.clone());
        let ended = logs.during(self.run(assignment, progress)).await;
        self.warn_of(&ended);
        logs.finish().await;
        let outcome = self.tell(ended, &latest).await;
        heartbeat.abort();
        outcome
    }

    /// Runs the handler in its scratch folder, which is removed afterwards.
    async fn run(
        &self,
        assignment: Assignment,
        progress: ProgressSender,
    ) -> Result<StageResult, StageFailure> {
        let scratch = self.worker.scratch.of(&self.name);
        let context = AttemptContext {
            assignment,
            artifacts: self.worker.artifacts.clone(),
            scratch: scratch.clone(),
            progress,
            stop: self.signal.clone(),
        };
        let handler = self.worker.handler.clone();
        let given_up = CancellationToken::new();
        let guarded = given_up.clone();
        let may_block = handler.may_block();
        let work = async move { guarded.run_until_cancelled(handler.run(context)).await };
        let work = async move { if may_block { apart(work).await } else { work.await } };
        let running = self.worker.tasks.spawn("worker.handler", work.in_current_span());
        let ended = self.until_drained(running).await;
        given_up.cancel();
        scratch::remove(&scratch);
        ended
    }

    /// Waits for the handler. At a shutdown it is told to save its work. Told to stop for whatever reason, it is given
    /// up when it takes too long: a handler that hangs must not hold its slot for ever.
    async fn until_drained(
        &self,
        mut handler: JoinHandle<Option<Result<StageResult, StageFailure>>>,
    ) -> Result<StageResult, StageFailure> {
        let shutdown: &CancellationToken = self.worker.tasks.shutdown();
        let mut told = self.signal.clone();
        let reason = tokio::select! {
            biased;
            ended = &mut handler => return unpanicked(ended),
            () = shutdown.cancelled() => {
                self.stop.stop(StopReason::Drain);
                StopReason::Drain
            }
            reason = told.stopped() => reason,
        };
        let grace = self.worker.options.drain_within;
        if let Ok(ended) = tokio::time::timeout(grace, &mut handler).await {
            return unpanicked(ended);
        }
        tracing::warn!(
            "{} was told to stop ({reason:?}), did not within {grace:?} and is given up",
            self.name
        );
        Err(StageFailure::Stopped(reason))
    }

    fn warn_of(&self, ended: &Result<StageResult, StageFailure>) {
        if let Err(StageFailure::Failed { message, retryable }) = ended {
            tracing::warn!(retryable, "{} failed: {message}", self.name);
        }
    }

    /// Reports the end of the attempt, unless nobody wants to know.
    async fn tell(
        &self,
        ended: Result<StageResult, StageFailure>,
        latest: &watch::Receiver<Progress>,
    ) -> AttemptOutcome {
        let (to_report, outcome) = match (self.signal.reason(), ended) {
            (Some(StopReason::Fenced), _) => return AttemptOutcome::Fenced,
            (Some(StopReason::Cancel), _) => return AttemptOutcome::Cancelled,
            (_, Ok(result)) => (Report::Complete(Box::new(result)), AttemptOutcome::Completed),
            (Some(StopReason::Drain), Err(StageFailure::Stopped(_))) => {
                (Report::HandBack, AttemptOutcome::HandedBack)
            }
            (None, Err(StageFailure::Stopped(reason))) => {
                let message =
                    format!("the attempt stopped for {reason:?} though nobody told it to; retry the job");
                (Report::Fail { message, retryable: true }, AttemptOutcome::Failed)
            }
            (_, Err(StageFailure::Failed { message, retryable })) => {
                (Report::Fail { message, retryable }, AttemptOutcome::Failed)
            }
        };
        let last_progress = latest.borrow().clone();
        let coordinator = self.worker.coordinator.as_ref();
        let accepted = report(coordinator, &self.name, &to_report, &last_progress, self.signal.clone()).await;
        if accepted { outcome } else { AttemptOutcome::Fenced }
    }
}

/// Runs `work` so that it may block its thread: the runtime gives its other tasks, heartbeats among them, another
/// one. Without that a handler that forgets to yield would lose its lease.
async fn apart<T>(work: impl Future<Output = T>) -> T {
    let runtime = Handle::current();
    match runtime.runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(|| runtime.block_on(work)),
        // A runtime of one thread has no other one to give.
        _ => work.await,
    }
}

fn unpanicked(
    ended: Result<Option<Result<StageResult, StageFailure>>, JoinError>,
) -> Result<StageResult, StageFailure> {
    match ended {
        Ok(Some(ended)) => ended,
        Ok(None) => Err(StageFailure::Stopped(StopReason::Drain)),
        Err(cut) => {
            let reason = match cut.try_into_panic() {
                Ok(panic) => panic_message(&*panic),
                Err(cut) => cut.to_string(),
            };
            let message = format!("the stage's code panicked: {reason}; this is a fault in Clara");
            Err(StageFailure::retryable(message))
        }
    }
}
