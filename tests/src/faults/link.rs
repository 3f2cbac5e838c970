//! The network between one worker and the coordinators: requests travel on, whatever becomes of who sent them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use clara_lifecycle::{
    attempt::Progress,
    hello::{Hello, Welcome},
    log::LogLine,
    results::StageResult,
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

use super::{node::Node, weather::Sky};

/// How long a worker waits for an answer, as over gRPC.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A coordinator that can be reached until it dies.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) coordinator: Arc<dyn Coordinator>,
    pub(super) died: CancellationToken,
}

/// The coordinators that run; clones are the same.
pub(super) type Peers = Arc<Mutex<Vec<Option<Peer>>>>;

/// The way from one worker to the coordinators.
pub(super) struct Link {
    pub(super) node: Node,
    pub(super) sky: Sky,
    pub(super) peers: Peers,
    pub(super) network: Tasks,
    /// Whether nothing comes through.
    pub(super) is_cut: Arc<AtomicBool>,
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Link").field("is_cut", &self.is_cut).finish_non_exhaustive()
    }
}

type Call<T> =
    Arc<dyn Fn(Arc<dyn Coordinator>) -> BoxFuture<'static, Result<T, CoordinatorError>> + Send + Sync>;

impl Link {
    async fn through<T: Send + 'static>(&self, call: Call<T>) -> Result<T, CoordinatorError> {
        let exchange = async {
            tokio::time::timeout(ANSWER_WITHIN, self.exchange(call))
                .await
                .unwrap_or_else(|_| Err(unreachable("no answer in time")))
        };
        self.node.does(exchange).await
    }

    async fn exchange<T: Send + 'static>(&self, call: Call<T>) -> Result<T, CoordinatorError> {
        let weather = self.sky.now();
        if self.is_cut.load(Ordering::Relaxed) || self.sky.strikes(weather.lost_requests) {
            std::future::pending::<()>().await;
        }
        if self.sky.strikes(weather.doubled_requests) {
            let wait = self.sky.between(Duration::ZERO, Duration::from_secs(15));
            drop(self.send(Arc::clone(&call), wait)?);
        }
        let wait = if self.sky.strikes(weather.late_requests) {
            self.sky.between(Duration::from_millis(100), Duration::from_secs(15))
        } else {
            self.sky.between(Duration::ZERO, Duration::from_millis(10))
        };
        let answer = self.send(call, wait)?.await;
        self.sky.pass(0, 10).await;
        if self.is_cut.load(Ordering::Relaxed) || self.sky.strikes(weather.lost_answers) {
            std::future::pending::<()>().await;
        }
        match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(unreachable("the coordinator died")),
            Err(panic) => Err(unreachable(&panic.to_string())),
        }
    }

    /// Sends a request to any coordinator; dropping the answer does not call it back.
    fn send<T: Send + 'static>(
        &self,
        call: Call<T>,
        wait: Duration,
    ) -> Result<tokio::task::JoinHandle<Option<Result<T, CoordinatorError>>>, CoordinatorError> {
        let running: Vec<Peer> = self.peers.lock().iter().flatten().cloned().collect();
        let peer = self.sky.one_of(&running).cloned().ok_or_else(|| unreachable("no coordinator runs"))?;
        Ok(self.network.spawn("network.request", async move {
            tokio::time::sleep(wait).await;
            peer.died.run_until_cancelled(call(peer.coordinator.clone())).await
        }))
    }
}

fn unreachable(reason: &str) -> CoordinatorError {
    CoordinatorError::Unavailable { url: "simulation".to_owned(), reason: reason.to_owned() }
}

#[async_trait]
impl Coordinator for Link {
    async fn hello(&self, hello: &Hello) -> Result<Welcome, CoordinatorError> {
        let hello = hello.clone();
        self.through(Arc::new(move |peer| {
            let hello = hello.clone();
            Box::pin(async move { peer.hello(&hello).await })
        }))
        .await
    }

    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, CoordinatorError> {
        let claim = claim.clone();
        self.through(Arc::new(move |peer| {
            let claim = claim.clone();
            Box::pin(async move { peer.claim(&claim).await })
        }))
        .await
    }

    async fn heartbeat(
        &self,
        attempt: &ClaimedAttempt,
        progress: &Progress,
    ) -> Result<Directive, CoordinatorError> {
        let said = (attempt.clone(), progress.clone());
        self.through(Arc::new(move |peer| {
            let (attempt, progress) = said.clone();
            Box::pin(async move { peer.heartbeat(&attempt, &progress).await })
        }))
        .await
    }

    async fn complete(
        &self,
        attempt: &ClaimedAttempt,
        result: &StageResult,
    ) -> Result<ReportOutcome, CoordinatorError> {
        let said = (attempt.clone(), result.clone());
        self.through(Arc::new(move |peer| {
            let (attempt, result) = said.clone();
            Box::pin(async move { peer.complete(&attempt, &result).await })
        }))
        .await
    }

    async fn fail(
        &self,
        attempt: &ClaimedAttempt,
        message: &str,
        retryable: bool,
    ) -> Result<ReportOutcome, CoordinatorError> {
        let said = (attempt.clone(), message.to_owned());
        self.through(Arc::new(move |peer| {
            let (attempt, message) = said.clone();
            Box::pin(async move { peer.fail(&attempt, &message, retryable).await })
        }))
        .await
    }

    async fn hand_back(&self, attempt: &ClaimedAttempt) -> Result<ReportOutcome, CoordinatorError> {
        let attempt = attempt.clone();
        self.through(Arc::new(move |peer| {
            let attempt = attempt.clone();
            Box::pin(async move { peer.hand_back(&attempt).await })
        }))
        .await
    }

    async fn append_log(&self, attempt: &ClaimedAttempt, lines: &[LogLine]) -> Result<(), CoordinatorError> {
        let said = (attempt.clone(), lines.to_vec());
        self.through(Arc::new(move |peer| {
            let (attempt, lines) = said.clone();
            Box::pin(async move { peer.append_log(&attempt, &lines).await })
        }))
        .await
    }
}
