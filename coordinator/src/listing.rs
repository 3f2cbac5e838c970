//! Lists jobs, newest first, page by page.

use std::collections::BTreeMap;

use clara_lifecycle::{id::Domain, job::Job};
use clara_runtime::state::{Order, Page};

use crate::{
    driver::{Driver, DriverError},
    indexes,
};

/// Jobs of a page when nothing else is asked for.
pub(crate) const DEFAULT_PAGE: usize = 100;
const LONGEST_PAGE: usize = 1000;
/// Jobs that a filter may drop are read so many at a time.
const READ_AT_LEAST: usize = 100;

/// Which jobs are listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobFilter {
    /// Name of a state in indexes.
    pub(crate) state: Option<&'static str>,
    pub(crate) domain: Option<Domain>,
    /// All of these, with these values.
    pub(crate) labels: BTreeMap<String, String>,
    /// 1 to 1000; 0 means 100.
    pub(crate) limit: usize,
    /// The last job of the page before.
    pub(crate) after: Option<String>,
}

impl JobFilter {
    fn wants(&self, job: &Job) -> bool {
        self.domain.as_ref().is_none_or(|domain| job.spec.domain == *domain)
            && self.labels.iter().all(|(label, value)| job.spec.labels.get(label) == Some(value))
    }

    /// How many jobs a page has.
    pub(crate) fn page_size(&self) -> Result<usize, DriverError> {
        match self.limit {
            0 => Ok(DEFAULT_PAGE),
            limit if limit <= LONGEST_PAGE => Ok(limit),
            limit => Err(DriverError::Invalid(format!("limit is {limit}; expected 1 to {LONGEST_PAGE}"))),
        }
    }
}

impl Driver {
    /// One page of jobs.
    pub(crate) async fn jobs(&self, filter: JobFilter) -> Result<Vec<Job>, DriverError> {
        let limit = filter.page_size()?;
        let index = filter.state.map_or_else(|| indexes::JOBS.to_owned(), indexes::in_state);
        // Job ids grow with time, so the descending order is newest first.
        let mut page = Page { after: filter.after.clone(), limit, order: Order::Descending };
        let mut jobs = Vec::new();
        while jobs.len() < limit {
            page.limit = (limit - jobs.len()).max(READ_AT_LEAST);
            let ids = self.records.state.members(&index, &page).await?;
            for job in self.records.jobs(&ids).await? {
                let job = job?.value;
                if jobs.len() < limit && filter.wants(&job) {
                    jobs.push(job);
                }
            }
            let is_last = ids.len() < page.limit;
            page.after = ids.into_iter().next_back();
            if is_last {
                break;
            }
        }
        Ok(jobs)
    }
}
