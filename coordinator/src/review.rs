//! Reviews: what waits for a person, an evaluation as a reviewer sees it, and what reviewers note about it.

mod subjects;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use clara_lifecycle::{
    adapter::AdapterStatus,
    review::{
        Changed, QueuedReview, ReviewChange, ReviewError, ReviewItem, ReviewNotes, ReviewSheet, Reviewer,
        SavedReview, Subject,
    },
};
use clara_runtime::{artifacts::ArtifactStore, state::RecordKey};

use crate::{
    change::Change,
    driver::{Driver, DriverError, action_of, audit},
    records::{Stored, is_conflict},
    registry::{AdapterFilter, AdapterView, Review, Reviewed},
    review::subjects::Subjects,
};

const REVIEW: &str = "review";

/// Reviews over the driver and the artifacts that evaluations lie in; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Reviews {
    driver: Driver,
    artifacts: ArtifactStore,
    subjects: Subjects,
}

impl Reviews {
    pub(crate) fn new(driver: Driver, artifacts: ArtifactStore) -> Self {
        Self { driver, artifacts, subjects: Subjects::default() }
    }

    /// The versions that wait for a person, what deserves a look first; equal ones by age.
    pub(crate) async fn queue(&self, reviewer: &str) -> Result<Vec<QueuedReview>, DriverError> {
        let mut queue = Vec::new();
        for view in self.driver.adapters(&AdapterFilter::default()).await? {
            if !waits(view.version.status) {
                continue;
            }
            queue.push(self.queued(&view, reviewer).await?);
        }
        queue.sort_by(|a, b| b.priority.total_cmp(&a.priority).then_with(|| a.created_at.cmp(&b.created_at)));
        Ok(queue)
    }

    /// A version for a reviewer.
    pub(crate) async fn sheet(&self, adapter_id: &str, reviewer: &str) -> Result<ReviewSheet, DriverError> {
        let (view, subject) = self.subject(adapter_id).await?;
        let record = self.record(&view.version.adapter_id).await?.value;
        Ok(subject.sheet(&view.version.adapter_id, view.version.status, &record, reviewer))
    }

    /// One of its answers.
    pub(crate) async fn item(
        &self,
        adapter_id: &str,
        sample_id: &str,
        reviewer: &str,
    ) -> Result<ReviewItem, DriverError> {
        let (view, subject) = self.subject(adapter_id).await?;
        let record = self.record(&view.version.adapter_id).await?.value;
        let unknown = || ReviewError::UnknownSample { sample_id: sample_id.to_owned() };
        Ok(subject.item(sample_id, &record, reviewer).ok_or_else(unknown)?)
    }

    /// Stores what a reviewer does; an override is in the audit log and a label for calibration by the same commit.
    pub(crate) async fn save(
        &self,
        adapter_id: &str,
        reviewer: &str,
        change: &ReviewChange,
    ) -> Result<SavedReview, DriverError> {
        let (view, subject) = self.subject(adapter_id).await?;
        loop {
            match self.save_once(&view.version.adapter_id, reviewer, change, &subject).await {
                Err(error) if is_conflict(&error) => {}
                done => return done,
            }
        }
    }

    /// Approves or rejects. With the revision that the reviewer saw, the verdict is refused when somebody decided or
    /// changed a score meanwhile.
    pub(crate) async fn decide(
        &self,
        adapter_id: &str,
        review: Review,
        seen_revision: Option<u64>,
    ) -> Result<Reviewed, DriverError> {
        let view = self.driver.adapter(adapter_id).await?;
        let adapter_id = view.version.adapter_id.clone();
        if let Some(revision) = seen_revision {
            if !waits(view.version.status) {
                return Err(self.decided_already(&view).await?.into());
            }
            self.record(&adapter_id).await?.value.check_verdict(&adapter_id, revision)?;
        }
        let actor = review.actor.clone();
        let decided = self.driver.review_as_seen(&view.version, review).await?;
        self.forget_draft(&adapter_id, &actor).await?;
        Ok(decided)
    }

    async fn save_once(
        &self,
        adapter_id: &str,
        reviewer: &str,
        change: &ReviewChange,
        subject: &Subject,
    ) -> Result<SavedReview, DriverError> {
        let Stored { version, value: before } = self.record(adapter_id).await?;
        let mut record = before.clone();
        let mut commit = Change::begin(&self.driver).await?;
        let at = commit.now_text();
        record.apply(change, Reviewer { name: reviewer, at: &at }, subject)?;
        if record != before {
            if let ReviewChange::Override { sample_id, reason, .. } = change {
                let notes = record.notes(sample_id);
                let what = notes.changed.as_ref().map(|changed| changed.what.as_str()).unwrap_or_default();
                let note = format!("{sample_id}: {what}: {}", reason.trim());
                audit(&mut commit, "review.overridden", adapter_id, (reviewer, &note)).await?;
                let (label, old) =
                    (subject.label(sample_id, &notes), subject.label(sample_id, &before.notes(sample_id)));
                match (label, old) {
                    (Some(label), _) => self.driver.put_label_in(&mut commit, &label).await?,
                    (None, Some(old)) => self.driver.remove_override_label_in(&mut commit, &old).await?,
                    (None, None) => {}
                }
            }
            commit.write(key(adapter_id), &Stored { version, value: &record })?;
            commit.commit().await?;
        }
        let item = change.sample_id().and_then(|sample_id| subject.item(sample_id, &record, reviewer));
        Ok(SavedReview { revision: record.revision, item })
    }

    async fn queued(&self, view: &AdapterView, reviewer: &str) -> Result<QueuedReview, DriverError> {
        let version = &view.version;
        let Some(subject) = self.subjects.load(&self.driver, &self.artifacts, version).await? else {
            return Ok(QueuedReview {
                adapter_id: version.adapter_id.clone(),
                status: version.status,
                created_at: version.created_at.clone(),
                decision: None,
                mean: version.metrics.get("llm_judge_score").copied(),
                samples: 0,
                seen: 0,
                hard: 0,
                overridden: 0,
                priority: 0.0,
            });
        };
        let record = self.record(&version.adapter_id).await?.value;
        let named = (version.adapter_id.as_str(), version.status, version.created_at.as_str());
        Ok(subject.queued(named, &subject.lines(&record, reviewer)))
    }

    async fn subject(&self, adapter_id: &str) -> Result<(AdapterView, Arc<Subject>), DriverError> {
        let view = self.driver.adapter(adapter_id).await?;
        let subject = self.subjects.load(&self.driver, &self.artifacts, &view.version).await?;
        let missing = || {
            DriverError::Invalid(format!(
                "{} has no evaluation here: its job has not judged yet, its record was removed by `clara registry gc`, or \
                 the version was imported; `clara registry show` tells where it comes from",
                view.version.adapter_id
            ))
        };
        let subject = subject.ok_or_else(missing)?;
        Ok((view, subject))
    }

    async fn record(&self, adapter_id: &str) -> Result<Stored<ReviewNotes>, DriverError> {
        let stored = self.driver.records.load(&key(adapter_id)).await?;
        Ok(stored.unwrap_or(Stored { version: None, value: ReviewNotes::default() }))
    }

    /// Who decided, when and why, for the reviewer who comes second.
    async fn decided_already(&self, view: &AdapterView) -> Result<ReviewError, DriverError> {
        let AdapterView { version, .. } = view;
        let (entries, _) = self.driver.audit_log(Some(&version.adapter_id)).await?;
        let action = action_of(version.status);
        let changed = match entries.into_iter().rev().find(|entry| entry.action == action) {
            Some(entry) => Changed {
                what: format!("made it {} ({})", version.status, entry.reason),
                by: entry.actor,
                at: entry.at,
            },
            None => Changed {
                what: format!("made it {}", version.status),
                by: version.approved_by.clone().unwrap_or_else(|| "somebody".to_owned()),
                at: version.approved_at.clone().unwrap_or_else(|| version.created_at.clone()),
            },
        };
        Ok(ReviewError::Conflict { subject: version.adapter_id.clone(), changed })
    }

    async fn forget_draft(&self, adapter_id: &str, actor: &str) -> Result<(), DriverError> {
        loop {
            let Stored { version, value: mut record } = self.record(adapter_id).await?;
            if record.drafts.remove(actor).is_none() {
                return Ok(());
            }
            let mut change = Change::begin(&self.driver).await?;
            change.write(key(adapter_id), &Stored { version, value: &record })?;
            match change.commit().await {
                Err(error) if is_conflict(&error) => {}
                done => return done,
            }
        }
    }
}

fn waits(status: AdapterStatus) -> bool {
    matches!(status, AdapterStatus::InReview | AdapterStatus::PendingReview)
}

fn key(adapter_id: &str) -> RecordKey {
    RecordKey::new(REVIEW, adapter_id)
}
