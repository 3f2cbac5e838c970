//! Tells a running attempt to stop, and why.

use tokio::sync::watch;

/// Why an attempt must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The user cancelled the job: drop the work.
    Cancel,
    /// The worker is being shut down: save a checkpoint and hand the attempt back.
    Drain,
    /// Another attempt owns the stage: touch nothing any more.
    Fenced,
}

/// The listening end; cheap to clone, usable from any thread.
#[derive(Debug, Clone)]
pub struct StopSignal(watch::Receiver<Option<StopReason>>);

/// The telling end.
#[derive(Debug)]
pub struct StopSwitch(watch::Sender<Option<StopReason>>);

/// A switch and its signal.
pub fn stop_switch() -> (StopSwitch, StopSignal) {
    let (sender, receiver) = watch::channel(None);
    (StopSwitch(sender), StopSignal(receiver))
}

impl StopSwitch {
    /// Tells the attempt to stop; the first reason stays, except that `Fenced` outranks the others.
    pub fn stop(&self, reason: StopReason) {
        self.0.send_if_modified(|current| {
            let changes = current.is_none() || (reason == StopReason::Fenced && *current != Some(reason));
            if changes {
                *current = Some(reason);
            }
            changes
        });
    }

    /// Another listening end.
    pub fn signal(&self) -> StopSignal {
        StopSignal(self.0.subscribe())
    }
}

impl StopSignal {
    /// The reason to stop, if there is one; never blocks.
    pub fn reason(&self) -> Option<StopReason> {
        *self.0.borrow()
    }

    /// Waits until there is a reason to stop. Waits for ever when the switch is dropped untold.
    pub async fn stopped(&mut self) -> StopReason {
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until another attempt owns the stage, whatever other reasons come before. Waits for ever when the
    /// switch is dropped untold.
    pub async fn fenced(&mut self) {
        let fenced = self.0.wait_for(|reason| *reason == Some(StopReason::Fenced)).await.is_ok();
        if !fenced {
            std::future::pending::<()>().await;
        }
    }
}
