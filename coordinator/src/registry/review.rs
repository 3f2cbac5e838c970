//! What people say about versions: the one way to approve or reject.

use clara_lifecycle::{
    adapter::{AdapterStatus, AdapterVersion, FourEyes, ReviewRecord, RolloutRecord, StatusChange},
    id::JobId,
    job::{Event, JobState, Rejected, Verdict},
};

use super::AdapterView;
use crate::{
    change::Change,
    driver::{Driver, DriverError, action_of, audit},
    records::is_conflict,
};

/// A human's verdict on a version.
#[derive(Debug, Clone)]
pub(crate) struct Review {
    pub(crate) verdict: Verdict,
    pub(crate) actor: String,
    pub(crate) reason: String,
}

/// What a review led to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reviewed {
    pub(crate) view: AdapterView,
    /// The job that goes on by it.
    pub(crate) job: Option<JobId>,
    /// Why the version is not decided yet: somebody else must approve it too.
    pub(crate) waits: Option<String>,
}

impl Driver {
    /// Approves or rejects a version; a job in review goes on by it, and is answered. With `registry.four_eyes` the first
    /// approval is recorded and waits for the second. Refused where the version has another status than `seen` has.
    pub(crate) async fn review_as_seen(
        &self,
        seen: &AdapterVersion,
        review: Review,
    ) -> Result<Reviewed, DriverError> {
        if review.actor.trim().is_empty() || review.reason.trim().is_empty() {
            return Err(DriverError::Invalid(
                "a review needs who decided (--actor) and why (--reason)".into(),
            ));
        }
        let adapter_id = seen.adapter_id.as_str();
        if let Some(waits) = self.first_of_two(seen, &review).await? {
            return Ok(Reviewed { view: self.adapter(adapter_id).await?, job: None, waits: Some(waits) });
        }
        let job = seen.lineage.as_ref().map(|lineage| lineage.job.clone());
        if let Some(job) = job
            && self.job_in_review(&job).await?
        {
            let Review { verdict, actor, reason } = review.clone();
            match self.apply(&job, Event::Reviewed { verdict, actor, reason }).await {
                Ok(_) => {
                    let view = self.adapter(adapter_id).await?;
                    return Ok(Reviewed { view, job: Some(job), waits: None });
                }
                Err(DriverError::Rejected(Rejected::NotApplicable { .. })) => {
                    return Err(reviewed_meanwhile(adapter_id));
                }
                Err(error) => return Err(error),
            }
        }
        self.review_directly(seen, &review).await?;
        Ok(Reviewed { view: self.adapter(adapter_id).await?, job: None, waits: None })
    }

    /// Records the first of two approvals and answers why it waits; `None` when the verdict counts as it is.
    async fn first_of_two(
        &self,
        version: &AdapterVersion,
        review: &Review,
    ) -> Result<Option<String>, DriverError> {
        if !self.registry.four_eyes
            || review.verdict == Verdict::Reject
            || version.status == AdapterStatus::Approved
        {
            return Ok(None);
        }
        let labels = self.labels().await?.into_iter();
        let labellers: Vec<String> =
            labels.filter(|label| label.adapter_id == version.adapter_id).map(|label| label.actor).collect();
        loop {
            let mut change = Change::begin(self).await?;
            let at = change.now_text();
            let family = change.family(&version.domain, version.method).await?;
            let Some(now) = family.version(&version.adapter_id) else { return Ok(None) };
            if now.status != version.status {
                return Err(reviewed_meanwhile(&version.adapter_id));
            }
            let reason = match now.four_eyes(&review.actor, &labellers)? {
                FourEyes::Complete => return Ok(None),
                FourEyes::Waits { reason } => reason,
            };
            family.note(&version.adapter_id, |version| version.reviews.push(record(review, at)))?;
            let by = (review.actor.as_str(), review.reason.as_str());
            audit(&mut change, "adapter.endorsed", &version.adapter_id, by).await?;
            match change.commit().await {
                Err(error) if is_conflict(&error) => {}
                done => return done.map(|()| Some(reason)),
            }
        }
    }

    async fn job_in_review(&self, job: &JobId) -> Result<bool, DriverError> {
        match self.records.job(job).await {
            Ok(job) => Ok(job.value.state == JobState::InReview),
            Err(DriverError::UnknownJob { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Without a job in review the verdict changes the version alone; an approved one becomes champion. Refused where the
    /// status is no longer that of `version`.
    async fn review_directly(&self, version: &AdapterVersion, review: &Review) -> Result<(), DriverError> {
        let to = match review.verdict {
            Verdict::Approve => AdapterStatus::Approved,
            Verdict::Reject => AdapterStatus::Rejected,
        };
        if version.status == to {
            return Err(DriverError::Invalid(format!("{} is already {to}", version.adapter_id)));
        }
        loop {
            let mut change = Change::begin(self).await?;
            let at = change.now_text();
            let family = change.family(&version.domain, version.method).await?;
            if family.version(&version.adapter_id).is_some_and(|now| now.status != version.status) {
                return Err(reviewed_meanwhile(&version.adapter_id));
            }
            let by = (review.actor.as_str(), review.reason.as_str());
            let status = StatusChange { to, actor: by.0, reason: by.1, at: &at };
            family.set_status(&version.adapter_id, status)?;
            family.note(&version.adapter_id, |version| version.reviews.push(record(review, at.clone())))?;
            if to == AdapterStatus::Approved {
                super::sign_in(family, &version.adapter_id, &self.registry)?;
                let actor = review.actor.clone();
                let rollout = RolloutRecord { at, actor, replaced: None, targets: Vec::new() };
                family.put_into_production(&version.adapter_id, rollout)?;
            }
            audit(&mut change, action_of(to), &version.adapter_id, by).await?;
            if to == AdapterStatus::Approved {
                audit(&mut change, "adapter.promoted", &version.adapter_id, by).await?;
            }
            match change.commit().await {
                Err(error) if is_conflict(&error) => {}
                done => return done,
            }
        }
    }
}

fn reviewed_meanwhile(adapter_id: &str) -> DriverError {
    DriverError::Invalid(format!("{adapter_id} was reviewed meanwhile; look again"))
}

fn record(review: &Review, at: String) -> ReviewRecord {
    let Review { verdict, actor, reason } = review.clone();
    ReviewRecord { at, actor, verdict, reason }
}
