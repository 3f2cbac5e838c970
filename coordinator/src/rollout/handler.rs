//! The rollout stage: the approved version on its targets, then, by the commit of this stage's result, the champion.

use async_trait::async_trait;
use clara_lifecycle::{
    attempt::Assignment,
    results::{RolloutResult, StageResult, TargetRollout},
    stage::Stage,
};
use clara_runtime::{
    stop::StopReason,
    worker::{AttemptContext, StageFailure, StageHandler},
};

use super::{RolloutError, Rollouts};

/// Carries out the rollout stage.
#[derive(Debug, Clone)]
pub(crate) struct RolloutHandler {
    rollouts: Rollouts,
}

impl RolloutHandler {
    pub(crate) fn new(rollouts: Rollouts) -> Self {
        Self { rollouts }
    }

    async fn roll_out(
        &self,
        context: &AttemptContext,
        adapter_id: &str,
    ) -> Result<Vec<TargetRollout>, StageFailure> {
        let Assignment { job, spec, .. } = &context.assignment;
        let names = &spec.rollout_targets;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |error: RolloutError| StageFailure::of(&error, error.is_retryable());
        let order = self.rollouts.order(adapter_id, "coordinator", job.as_str()).await.map_err(failed)?;
        let order = order.telling(context.progress.clone());
        let mut stop = context.stop.clone();
        tokio::select! {
            biased;
            reason = stop.stopped() => {
                // After a drain or a lost lease another attempt goes on from here; a cancelled job leaves nothing behind.
                if reason == StopReason::Cancel {
                    let targets = names.iter().filter_map(|name| self.rollouts.driver.targets.get(name).ok());
                    let targets: Vec<_> = targets.collect();
                    self.rollouts.take_back(&order, &targets, "the job was cancelled").await;
                }
                Err(StageFailure::Stopped(reason))
            }
            done = self.rollouts.roll_out(&order, names) => done.map_err(failed),
        }
    }
}

#[async_trait]
impl StageHandler for RolloutHandler {
    fn stage(&self) -> Stage {
        Stage::Rollout
    }

    fn may_block(&self) -> bool {
        false
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        let Assignment { adapter_id, champion, .. } = &context.assignment;
        let adapter_id =
            adapter_id.clone().ok_or_else(|| StageFailure::permanent("the job has no registered adapter"))?;
        let previous_champion = champion.as_ref().map(|champion| champion.adapter_id.clone());
        let targets = self.roll_out(&context, &adapter_id).await?;
        // The champion moves with the commit of this result; the watch looks soon after.
        self.rollouts.moved.notify_waiters();
        Ok(StageResult::Rollout(RolloutResult { adapter_id, previous_champion, targets }))
    }
}
