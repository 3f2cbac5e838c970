//! Keeps a lease: tells progress in time, passes directives on, and fences the attempt itself when unheard.

use std::{sync::Arc, time::Duration};

use clara_lifecycle::{artifact::ArtifactRef, attempt::Progress, curve::CurvePoint, stage::Stage};
use tokio::{sync::watch, time::Instant};

use super::milestones::Milestones;
use crate::{
    coordinator_client::{ClaimedAttempt, Coordinator, Directive},
    metrics,
    stop::{StopReason, StopSwitch},
};

/// What keeps one lease.
pub(super) struct Heartbeat {
    pub(super) coordinator: Arc<dyn Coordinator>,
    pub(super) attempt: ClaimedAttempt,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) stop: Arc<StopSwitch>,
    /// When the newest call that renewed the lease began.
    pub(super) renewed_at: Instant,
    pub(super) lease_ttl: Duration,
    pub(super) every: Duration,
}

impl Heartbeat {
    /// Beats until the attempt is cancelled or fenced. Dropped when the attempt ends otherwise.
    pub(super) async fn keep(mut self) {
        let mut next_beat = self.renewed_at + self.every;
        let (mut told_checkpoint, mut told_point) = (None, None);
        let mut milestones = Milestones::default();
        loop {
            // From here on the lease may be another's before a stop is noticed.
            let fence_at = self.renewed_at + self.lease_ttl.mul_f64(0.8);
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(fence_at) => return self.fence_itself(),
                () = tokio::time::sleep_until(next_beat) => {}
                () = new_checkpoint(&mut self.progress, told_checkpoint.as_ref()) => {}
            }
            let mut progress = self.progress.borrow_and_update().clone();
            if self.attempt.key.stage == Stage::Train {
                metrics::training(&progress.figures);
            }
            leave_out_told(&mut progress.points, told_point);
            milestones.log(&progress);
            let began_at = Instant::now();
            let beat = self.coordinator.heartbeat(&self.attempt, &progress);
            let Ok(answer) = tokio::time::timeout_at(fence_at, beat).await else {
                return self.fence_itself();
            };
            match answer {
                Ok(directive) => {
                    if self.obey(directive) {
                        return;
                    }
                    self.renewed_at = began_at;
                    told_checkpoint = progress.checkpoint;
                    told_point = progress.points.last().copied().or(told_point);
                    next_beat = began_at + self.every;
                }
                Err(error) => {
                    metrics::heartbeat_failed(self.attempt.key.stage);
                    tracing::debug!("no answer to a heartbeat of {}: {error}", self.attempt);
                    let again = Instant::now() + self.every / 4;
                    // Told or not, a checkpoint waits for the next beat, so that an outage is no busy loop.
                    tokio::time::sleep_until(again.min(fence_at)).await;
                    next_beat = again;
                }
            }
        }
    }

    /// Passes a directive on. Answers whether the lease is no longer worth keeping.
    fn obey(&self, directive: Directive) -> bool {
        match directive {
            Directive::Continue => false,
            Directive::Drain => {
                // The lease is kept until the attempt is handed back.
                self.stop.stop(StopReason::Drain);
                false
            }
            Directive::Cancel => {
                self.stop.stop(StopReason::Cancel);
                true
            }
            Directive::Fenced => {
                self.stop.stop(StopReason::Fenced);
                true
            }
        }
    }

    fn fence_itself(&self) {
        let silent_ms = self.renewed_at.elapsed().as_millis();
        tracing::warn!(silent_ms, "{} stops itself: the coordinator was silent for too long", self.attempt);
        self.stop.stop(StopReason::Fenced);
    }
}

/// Leaves what came after the last point that was told; what was measured lately is all there.
fn leave_out_told(points: &mut Vec<CurvePoint>, told: Option<CurvePoint>) {
    if let Some(place) = points.iter().rposition(|point| Some(*point) == told) {
        points.drain(..=place);
    }
}

/// Waits for a checkpoint that the coordinator does not know: it is told at once, since a kill may come next.
async fn new_checkpoint(progress: &mut watch::Receiver<Progress>, told: Option<&ArtifactRef>) {
    loop {
        let is_new = {
            let progress = progress.borrow_and_update();
            progress.checkpoint.is_some() && progress.checkpoint.as_ref() != told
        };
        if is_new {
            return;
        }
        if progress.changed().await.is_err() {
            // The attempt tells no more; the lease is kept by the clock.
            std::future::pending::<()>().await;
        }
    }
}
