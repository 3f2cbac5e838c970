//! A coordinator that hears some calls again later, some of them after the lease.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use clara_lifecycle::{
    attempt::Progress,
    hello::{Hello, Welcome},
    log::LogLine,
    results::StageResult,
    statistics::SplitMix64,
};
use clara_runtime::{
    coordinator_client::{
        Claim, ClaimAnswer, ClaimedAttempt, Coordinator, CoordinatorError, Directive, ReportOutcome,
    },
    task::Tasks,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// How much later a call may arrive again.
const WITHIN: Duration = Duration::from_secs(5);

/// Repeats a share of the calls.
pub(super) struct Echoing {
    inner: Arc<dyn Coordinator>,
    percent: u64,
    dice: Mutex<SplitMix64>,
    tasks: Tasks,
}

impl fmt::Debug for Echoing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Echoing").field("percent", &self.percent).finish_non_exhaustive()
    }
}

impl Echoing {
    pub(super) fn new(inner: Arc<dyn Coordinator>, percent: u64, seed: u64) -> Self {
        let (dice, tasks) = (Mutex::new(SplitMix64::new(seed)), Tasks::new(CancellationToken::new()));
        Self { inner, percent, dice, tasks }
    }

    /// Lets a call happen again, or not.
    fn echo<T, F>(&self, call: F)
    where
        T: Send + 'static,
        F: FnOnce(Arc<dyn Coordinator>) -> BoxFuture<'static, Result<T, CoordinatorError>> + Send + 'static,
    {
        let (strikes, wait) = {
            let mut dice = self.dice.lock();
            (dice.below(100) < usize::try_from(self.percent).unwrap_or(100), WITHIN.mul_f64(dice.unit()))
        };
        if strikes {
            let inner = Arc::clone(&self.inner);
            self.tasks.spawn("drill.echo", async move {
                tokio::time::sleep(wait).await;
                // What it answers matters to nobody.
                drop(call(inner).await);
            });
        }
    }
}

#[async_trait]
impl Coordinator for Echoing {
    async fn hello(&self, hello: &Hello) -> Result<Welcome, CoordinatorError> {
        self.inner.hello(hello).await
    }

    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, CoordinatorError> {
        let again = claim.clone();
        self.echo(|inner| Box::pin(async move { inner.claim(&again).await }));
        self.inner.claim(claim).await
    }

    async fn heartbeat(
        &self,
        attempt: &ClaimedAttempt,
        progress: &Progress,
    ) -> Result<Directive, CoordinatorError> {
        let (key, again) = (attempt.clone(), progress.clone());
        self.echo(|inner| Box::pin(async move { inner.heartbeat(&key, &again).await }));
        self.inner.heartbeat(attempt, progress).await
    }

    async fn complete(
        &self,
        attempt: &ClaimedAttempt,
        result: &StageResult,
    ) -> Result<ReportOutcome, CoordinatorError> {
        let (key, again) = (attempt.clone(), result.clone());
        self.echo(|inner| Box::pin(async move { inner.complete(&key, &again).await }));
        self.inner.complete(attempt, result).await
    }

    async fn fail(
        &self,
        attempt: &ClaimedAttempt,
        message: &str,
        retryable: bool,
    ) -> Result<ReportOutcome, CoordinatorError> {
        let (key, again) = (attempt.clone(), message.to_owned());
        self.echo(move |inner| Box::pin(async move { inner.fail(&key, &again, retryable).await }));
        self.inner.fail(attempt, message, retryable).await
    }

    async fn hand_back(&self, attempt: &ClaimedAttempt) -> Result<ReportOutcome, CoordinatorError> {
        let key = attempt.clone();
        self.echo(|inner| Box::pin(async move { inner.hand_back(&key).await }));
        self.inner.hand_back(attempt).await
    }

    async fn append_log(&self, attempt: &ClaimedAttempt, lines: &[LogLine]) -> Result<(), CoordinatorError> {
        let (key, again) = (attempt.clone(), lines.to_vec());
        self.echo(|inner| Box::pin(async move { inner.append_log(&key, &again).await }));
        self.inner.append_log(attempt, lines).await
    }
}
