//! The only place that spawns: every task has a span, an owner that waits for it, and an end.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

#[cfg(test)]
mod tests;

/// The owner of tasks: tells them to end, and waits until they did. Clones own the same tasks.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl Tasks {
    /// An owner whose tasks shall end when `shutdown` is cancelled.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), shutdown }
    }

    /// Tells tasks to end: they look at it, or are dropped by [`Tasks::spawn_until_shutdown`].
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Starts a task. It looks at [`Tasks::shutdown`] by itself and ends soon after. A panic in it is logged.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let span = tracing::info_span!("task", task.name = name);
        // Each layer around it would move all of it once more, and some work is large.
        let work = Box::pin(work);
        let watched = async move {
            match AssertUnwindSafe(work).catch_unwind().await {
                Ok(output) => output,
                Err(panic) => {
                    tracing::error!(
                        "task {name} panicked: {}; this is a fault in Clara",
                        panic_message(&*panic)
                    );
                    std::panic::resume_unwind(panic)
                }
            }
        };
        tokio::spawn(self.tracker.track_future(watched.instrument(span)))
    }

    /// Starts a task that is dropped at its next await when the shutdown begins; for work that may stop anywhere.
    pub fn spawn_until_shutdown<F>(&self, name: &'static str, work: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        self.spawn(name, async move { shutdown.run_until_cancelled(work).await })
    }

    /// Tells the tasks to end and waits for them. Answers whether all of them ended within `grace`.
    pub async fn finish(&self, grace: Duration) -> bool {
        self.shutdown.cancel();
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
