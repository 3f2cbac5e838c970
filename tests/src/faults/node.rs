//! A simulated process: it runs, stands still, or is dead; what a dead one would do next never happens.

use std::future::Future;

use tokio::sync::watch;

/// How a process fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    Running,
    Stopped,
    Killed,
}

/// One process; clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Node(watch::Sender<Power>);

impl Node {
    /// A process that runs.
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Power::Running))
    }

    /// SIGSTOP.
    pub(super) fn stop(&self) {
        self.become_unless_dead(Power::Stopped);
    }

    /// SIGCONT.
    pub(super) fn go_on(&self) {
        self.become_unless_dead(Power::Running);
    }

    /// SIGKILL.
    pub(super) fn kill(&self) {
        self.0.send_replace(Power::Killed);
    }

    pub(super) fn is_dead(&self) -> bool {
        *self.0.borrow() == Power::Killed
    }

    /// Waits while the process stands still; for ever once it is dead.
    pub(super) async fn running(&self) {
        let mut power = self.0.subscribe();
        let runs = power.wait_for(|power| *power == Power::Running).await.is_ok();
        if !runs {
            std::future::pending::<()>().await;
        }
    }

    /// Does `work` as this process: it is dropped at the kill, and its end is not seen while the process stands still.
    pub(super) async fn does<T>(&self, work: impl Future<Output = T>) -> T {
        self.running().await;
        let mut power = self.0.subscribe();
        let done = tokio::select! {
            biased;
            _ = power.wait_for(|power| *power == Power::Killed) => None,
            done = work => Some(done),
        };
        self.running().await;
        match done {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    fn become_unless_dead(&self, next: Power) {
        self.0.send_if_modified(|power| {
            let changes = *power != Power::Killed && *power != next;
            if changes {
                *power = next;
            }
            changes
        });
    }
}
