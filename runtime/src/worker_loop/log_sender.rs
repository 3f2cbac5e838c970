//! Sends what an attempt logs to the coordinator while it runs and at its end; a failure to do so harms nothing.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    coordinator_client::{ClaimedAttempt, Coordinator},
    log_capture::AttemptLog,
};

/// How often new lines are sent.
const EVERY: Duration = Duration::from_secs(1);
/// How long the last lines may hold up the report.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// Sends the lines of one attempt. Without new lines there is no call.
#[derive(Debug)]
pub(super) struct LogSender {
    coordinator: Arc<dyn Coordinator>,
    attempt: ClaimedAttempt,
    /// `None` when logs are not collected in this process.
    log: Option<AttemptLog>,
    /// The coordinator does not take lines: it is older than this worker, or does not know the job.
    is_refused: AtomicBool,
}

impl LogSender {
    /// A sender of what is logged in the current span, that of `attempt`.
    pub(super) fn new(coordinator: Arc<dyn Coordinator>, attempt: ClaimedAttempt) -> Self {
        let log = AttemptLog::of(&tracing::Span::current());
        Self { coordinator, attempt, log, is_refused: AtomicBool::new(false) }
    }

    /// Carries `work` out and sends its lines meanwhile.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        if self.log.is_none() {
            return work.await;
        }
        let sending = async {
            loop {
                tokio::time::sleep(EVERY).await;
                self.send().await;
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            () = sending => std::future::pending().await,
        }
    }

    /// Sends the last lines, or gives them up after a while.
    pub(super) async fn finish(&self) {
        if tokio::time::timeout(FINISH_WITHIN, self.send()).await.is_err() {
            tracing::debug!("the last lines of {} were not kept in time", self.attempt);
        }
    }

    async fn send(&self) {
        let Some(log) = &self.log else { return };
        let lines = log.unsent();
        let Some(last) = lines.last() else { return };
        if self.is_refused.load(Ordering::Relaxed) {
            return log.sent(last.number);
        }
        match self.coordinator.append_log(&self.attempt, &lines).await {
            Ok(()) => log.sent(last.number),
            Err(error) => {
                tracing::debug!("lines of {} were not kept: {error}", self.attempt);
                self.is_refused.store(!error.is_retryable(), Ordering::Relaxed);
            }
        }
    }
}
