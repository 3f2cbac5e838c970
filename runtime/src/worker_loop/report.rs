//! Tells the coordinator how an attempt ended, again and again until it answers or the attempt is fenced.

use std::{future::Future, time::Duration};

use clara_lifecycle::{attempt::Progress, results::StageResult};
use tracing::Instrument;

use crate::{
    backoff::Backoff,
    coordinator_client::{ClaimedAttempt, Coordinator, CoordinatorError, ReportOutcome},
    metrics,
    stop::StopSignal,
};

/// How an attempt ended, as far as the coordinator must be told.
#[derive(Debug)]
pub(super) enum Report {
    Complete(Box<StageResult>),
    Fail { message: String, retryable: bool },
    HandBack,
}

/// Reports until there is an answer, or `stop` says that the attempt is another's. Answers whether it was accepted.
pub(super) async fn report(
    coordinator: &dyn Coordinator,
    attempt: &ClaimedAttempt,
    report: &Report,
    last_progress: &Progress,
    mut stop: StopSignal,
) -> bool {
    let span = tracing::info_span!("worker.report");
    let answered = async {
        // The newest checkpoint must be known before the attempt is given up.
        if !matches!(report, Report::Complete(_)) && last_progress.checkpoint.is_some() {
            repeat(|| async { coordinator.heartbeat(attempt, last_progress).await }).await?;
        }
        repeat(|| async {
            match report {
                Report::Complete(result) => coordinator.complete(attempt, result).await,
                Report::Fail { message, retryable } => coordinator.fail(attempt, message, *retryable).await,
                Report::HandBack => coordinator.hand_back(attempt).await,
            }
        })
        .await
    };
    let outcome = tokio::select! {
        biased;
        () = stop.fenced() => return false,
        outcome = answered.instrument(span) => outcome,
    };
    match outcome {
        Ok(ReportOutcome::Accepted | ReportOutcome::Duplicate) => true,
        Ok(ReportOutcome::Stale) => {
            metrics::report_refused(attempt.key.stage);
            tracing::warn!("the report of {attempt} was refused: the job went on without it");
            false
        }
        Err(error) => {
            tracing::error!("the report of {attempt} could not be made: {error}");
            false
        }
    }
}

async fn repeat<T, F>(call: impl Fn() -> F) -> Result<T, CoordinatorError>
where
    F: Future<Output = Result<T, CoordinatorError>>,
{
    let mut outage = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        match call().await {
            Err(error) if error.is_retryable() => {
                tracing::debug!("reporting again: {error}");
                tokio::time::sleep(outage.next_wait()).await;
            }
            answer => return answer,
        }
    }
}
