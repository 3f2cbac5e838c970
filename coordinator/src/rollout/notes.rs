//! Writes what servers said into the audit log.

use clara_lifecycle::audit::AuditNote;

use super::{Order, Rollouts, error::RolloutError};
use crate::{
    change::Change,
    driver::{Driver, DriverError},
    records::is_conflict,
};

impl Rollouts {
    /// Notes a step of a rollout, one entry a line, in one commit.
    pub(super) async fn note(
        &self,
        order: &Order,
        action: &'static str,
        lines: Vec<String>,
    ) -> Result<(), RolloutError> {
        if let Some(progress) = &order.progress {
            progress.update(|progress| {
                progress.done += 1;
                "steps".clone_into(&mut progress.unit);
            });
        }
        for line in &lines {
            tracing::info!("{action} {}: {line}", order.version.adapter_id);
        }
        let note = |reason: String| AuditNote {
            actor: order.actor.clone(),
            action,
            subject: order.version.adapter_id.clone(),
            reason,
        };
        let notes: Vec<AuditNote> = lines.into_iter().map(note).collect();
        Ok(self.driver.note(&notes).await?)
    }
}

impl Driver {
    /// Writes entries into the audit log, all or none.
    pub(crate) async fn note(&self, notes: &[AuditNote]) -> Result<(), DriverError> {
        if notes.is_empty() {
            return Ok(());
        }
        loop {
            let mut change = Change::begin(self).await?;
            for note in notes {
                change.audit(note.clone()).await?;
            }
            match change.commit().await {
                Err(error) if is_conflict(&error) => {}
                done => return done,
            }
        }
    }
}
