//! The registry as users see it: list, show, review, audit, export and import.

use clara_lifecycle::{
    adapter::{AdapterStatus, AdapterVersion, Family, RegistryFile, StatusChange},
    audit::{AuditEntry, first_break},
    id::{Domain, JobId},
    job::{Event, JobState, Rejected, Verdict},
    spec::Method,
};
use clara_runtime::state::{Order, Page};

use crate::{
    change::Change,
    driver::{Driver, DriverError, action_of, audit},
    records::{AUDIT_CHAINS, FAMILY, audit_chain, audit_stream, is_conflict},
};

/// Which versions a listing shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct AdapterFilter {
    pub(crate) domain: Option<Domain>,
    pub(crate) method: Option<Method>,
    pub(crate) status: Option<AdapterStatus>,
}

/// A version and whether it is in production.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct AdapterView {
    #[serde(flatten)]
    pub(crate) version: AdapterVersion,
    pub(crate) champion: bool,
}

/// A human's verdict on a version.
#[derive(Debug, Clone)]
pub(crate) struct Review {
    pub(crate) verdict: Verdict,
    pub(crate) actor: String,
    pub(crate) reason: String,
}

impl Driver {
    pub(crate) async fn adapters(&self, filter: &AdapterFilter) -> Result<Vec<AdapterView>, DriverError> {
        let families: Vec<Family> = self.records.all(FAMILY).await?;
        let wanted = |family: &Family| {
            filter.domain.as_ref().is_none_or(|domain| family.domain == *domain)
                && filter.method.is_none_or(|method| family.method == method)
        };
        let views = families.into_iter().filter(wanted).flat_map(views_of);
        Ok(views.filter(|view| filter.status.is_none_or(|status| view.version.status == status)).collect())
    }

    /// One version, or the champion by `{family}@champion`.
    pub(crate) async fn adapter(&self, adapter_id: &str) -> Result<AdapterView, DriverError> {
        let unknown = || DriverError::UnknownAdapter { adapter: adapter_id.to_owned() };
        let (family_id, alias) = match adapter_id.rsplit_once('@') {
            Some((family_id, "champion")) => (family_id, true),
            Some(_) => return Err(unknown()),
            None => (Family::id_of(adapter_id).ok_or_else(unknown)?, false),
        };
        let family = self.records.family(family_id).await?.ok_or_else(unknown)?.value;
        let wanted =
            |view: &AdapterView| if alias { view.champion } else { view.version.adapter_id == adapter_id };
        views_of(family).into_iter().find(wanted).ok_or_else(unknown)
    }

    /// Approves or rejects a version; a job in review goes on by it, and is answered.
    pub(crate) async fn review(
        &self,
        adapter_id: &str,
        review: Review,
    ) -> Result<(AdapterView, Option<JobId>), DriverError> {
        if review.actor.trim().is_empty() || review.reason.trim().is_empty() {
            return Err(DriverError::Invalid(
                "a review needs who decided (--actor) and why (--reason)".into(),
            ));
        }
        let view = self.adapter(adapter_id).await?;
        let adapter_id = view.version.adapter_id.clone();
        let job = view.version.lineage.as_ref().map(|lineage| lineage.job.clone());
        if let Some(job) = job
            && self.job_in_review(&job).await?
        {
            let Review { verdict, actor, reason } = review.clone();
            match self.apply(&job, Event::Reviewed { verdict, actor, reason }).await {
                Ok(_) => return Ok((self.adapter(&adapter_id).await?, Some(job))),
                Err(DriverError::Rejected(Rejected::NotApplicable { .. })) => {
                    return Err(DriverError::Invalid(format!(
                        "{adapter_id} was reviewed meanwhile; look again"
                    )));
                }
                Err(error) => return Err(error),
            }
        }
        self.review_directly(&view.version, &review).await?;
        Ok((self.adapter(&adapter_id).await?, None))
    }

    async fn job_in_review(&self, job: &JobId) -> Result<bool, DriverError> {
        match self.records.job(job).await {
            Ok(job) => Ok(job.value.state == JobState::InReview),
            Err(DriverError::UnknownJob { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Without a job in review the verdict changes the version alone; an approved one becomes champion.
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
            let by = (review.actor.as_str(), review.reason.as_str());
            let status = StatusChange { to, actor: by.0, reason: by.1, at: &at };
            family.set_status(&version.adapter_id, status)?;
            if to == AdapterStatus::Approved {
                family.promote(&version.adapter_id)?;
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

    /// The audit log, oldest entry first, optionally of one subject; and the first chain that is broken, with the place.
    pub(crate) async fn audit_log(
        &self,
        subject: Option<&str>,
    ) -> Result<(Vec<AuditEntry>, Option<(String, u64)>), DriverError> {
        let chains = match subject {
            Some(subject) => vec![audit_chain(subject)],
            None => self.audit_chains().await?,
        };
        let mut log = Vec::new();
        let mut broken = None;
        for chain in chains {
            let entries: Vec<AuditEntry> = self.records.events(&audit_stream(&chain), 0).await?;
            broken = broken.or_else(|| Some((chain, first_break(&entries)?)));
            log.extend(entries);
        }
        if let Some(subject) = subject {
            log.retain(|entry| entry.subject == subject);
        }
        // Entries of one chain have the order of their numbers whatever the clock did.
        log.sort_by_cached_key(|entry| entry.at.parse::<jiff::Timestamp>().ok());
        Ok((log, broken))
    }

    async fn audit_chains(&self) -> Result<Vec<String>, DriverError> {
        let mut page = Page { after: None, limit: 1000, order: Order::Ascending };
        let mut chains = Vec::new();
        loop {
            let found = self.records.state.members(AUDIT_CHAINS, &page).await?;
            let is_last = found.len() < page.limit;
            page.after = found.last().cloned();
            chains.extend(found);
            if is_last {
                return Ok(chains);
            }
        }
    }

    pub(crate) async fn export_registry(&self) -> Result<RegistryFile, DriverError> {
        let families = self.records.all(FAMILY).await?;
        let now = self.records.state.now().await?;
        Ok(RegistryFile::new(families, crate::change::time_text(now)))
    }

    /// Takes over versions that are not here yet; answers how many were new and how many were here.
    pub(crate) async fn import_registry(
        &self,
        file: RegistryFile,
        actor: &str,
    ) -> Result<(u32, u32), DriverError> {
        file.check()?;
        let mut change = Change::begin(self).await?;
        let (mut imported, mut total) = (0, 0);
        for other in file.families {
            total += u32::try_from(other.versions.len()).unwrap_or(u32::MAX);
            let subject = other.family_id.clone();
            let family = change.family(&other.domain, other.method).await?;
            let new = family.merge(other)?;
            imported += new;
            if new > 0 {
                let reason = format!("{new} versions from a file");
                audit(&mut change, "registry.imported", &subject, (actor, &reason)).await?;
            }
        }
        change.commit().await?;
        Ok((imported, total - imported))
    }
}

fn views_of(family: Family) -> Vec<AdapterView> {
    let champion = family.champion;
    let view = |version: AdapterVersion| AdapterView {
        champion: champion.as_deref() == Some(version.adapter_id.as_str()),
        version,
    };
    family.versions.into_iter().map(view).collect()
}

#[cfg(test)]
mod tests;
