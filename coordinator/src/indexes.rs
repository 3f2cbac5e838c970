//! The indexes that jobs appear in: by state, by tenant, and by what they ask for.

use clara_lifecycle::{
    digest::Digest,
    job::{Job, JobState, Outcome},
    spec::IngestOptions,
};
use clara_runtime::state::IndexChange;

/// All jobs, by id: in order of their submission.
pub(crate) const JOBS: &str = "jobs";
/// Tenants that have had waiting jobs since somebody last looked.
pub(crate) const TENANTS: &str = "tenants.waiting";
/// The label that names a job's tenant; jobs without it share one.
pub(crate) const TENANT_LABEL: &str = "tenant";

/// Every state that jobs are counted and listed by.
pub(crate) const STATES: [&str; 9] = [
    "waiting",
    "active",
    "stuck",
    "in_review",
    "approved",
    "rejected",
    "inconclusive",
    "judge_error",
    "cancelled",
];

/// The name of a state in indexes and metrics.
pub(crate) fn state_name(state: &JobState) -> &'static str {
    match state {
        JobState::Waiting { .. } => "waiting",
        JobState::Active { .. } => "active",
        JobState::Stuck { .. } => "stuck",
        JobState::InReview => "in_review",
        JobState::Finished { outcome: Outcome::Approved } => "approved",
        JobState::Finished { outcome: Outcome::Rejected } => "rejected",
        JobState::Finished { outcome: Outcome::Inconclusive } => "inconclusive",
        JobState::Finished { outcome: Outcome::Error } => "judge_error",
        JobState::Cancelled => "cancelled",
    }
}

/// Jobs in a state, by id.
pub(crate) fn in_state(state: &str) -> String {
    format!("jobs.{state}")
}

/// A tenant's waiting jobs, the most urgent and then the oldest first.
pub(crate) fn waiting(tenant: &str) -> String {
    format!("waiting.{tenant}")
}

/// A tenant's active jobs.
pub(crate) fn active(tenant: &str) -> String {
    format!("active.{tenant}")
}

/// Unfinished jobs that ask for the same.
pub(crate) fn unfinished(spec_digest: &str) -> String {
    format!("spec.{spec_digest}")
}

/// Jobs that ask for the same dataset, by id: same options, domain and golden dataset. The sources may have changed between them.
pub(crate) fn same_ingest(job: &Job) -> Option<String> {
    let asked = IngestOptions { fresh: false, ..job.spec.ingest.clone() };
    // Options that were read from the wire can always be written.
    let options = serde_json::to_vec(&asked).ok()?;
    let digest = Digest::of_parts([
        ("options", options.as_slice()),
        ("domain", job.spec.domain.as_str().as_bytes()),
        ("golden dataset", job.golden.digest.as_str().as_bytes()),
    ]);
    Some(format!("ingest.{digest}"))
}

/// The tenant of a job; empty when no label names one.
pub(crate) fn tenant(job: &Job) -> &str {
    job.spec.labels.get(TENANT_LABEL).map_or("", String::as_str)
}

/// A member of a tenant's waiting jobs.
pub(crate) fn waiting_member(job: &Job) -> String {
    format!("{}/{}", 9_u8.saturating_sub(job.spec.priority), job.id)
}

/// The changes that bring the indexes from `before` to `after`.
pub(crate) fn changes(before: Option<&Job>, after: &Job) -> Vec<IndexChange> {
    // All of them follow from the name of the state and from what never changes.
    if before.is_some_and(|before| state_name(&before.state) == state_name(&after.state)) {
        return Vec::new();
    }
    let old = before.map(of_state).unwrap_or_default();
    let mut new = if before.is_none() { lasting(after) } else { Vec::new() };
    new.extend(of_state(after));
    let gone =
        old.iter().filter(|membership| !new.contains(membership)).map(|membership| (membership, false));
    let come = new.iter().filter(|membership| !old.contains(membership)).map(|membership| (membership, true));
    let change = |((index, member), present): (&(String, String), bool)| IndexChange {
        index: index.clone(),
        member: member.clone(),
        present,
    };
    // The scheduler removes tenants that have no waiting job any more: only it sees that none is left.
    gone.chain(come).filter(|((index, _), present)| *present || index != TENANTS).map(change).collect()
}

/// The changes that take a job out of all indexes.
pub(crate) fn removal(job: &Job) -> Vec<IndexChange> {
    let gone = |(index, member)| IndexChange { index, member, present: false };
    lasting(job).into_iter().chain(of_state(job)).map(gone).collect()
}

/// Memberships that a job has as long as it is stored: indexes and members.
fn lasting(job: &Job) -> Vec<(String, String)> {
    let id = job.id.to_string();
    let same_ingest = same_ingest(job).map(|index| (index, id.clone()));
    [(JOBS.to_owned(), id)].into_iter().chain(same_ingest).collect()
}

/// Memberships that follow from a job's state.
fn of_state(job: &Job) -> Vec<(String, String)> {
    let (id, tenant) = (job.id.to_string(), tenant(job));
    let mut memberships = vec![(in_state(state_name(&job.state)), id.clone())];
    match &job.state {
        JobState::Waiting { .. } => {
            memberships.push((waiting(tenant), waiting_member(job)));
            memberships.push((TENANTS.to_owned(), tenant.to_owned()));
        }
        JobState::Active { .. } => memberships.push((active(tenant), id.clone())),
        JobState::Stuck { .. } | JobState::InReview => {}
        JobState::Finished { .. } | JobState::Cancelled => return memberships,
    }
    // Specifications that were read from the wire can always be written.
    if let Ok(digest) = job.spec.digest() {
        memberships.push((unfinished(digest.as_str()), id));
    }
    memberships
}

#[cfg(test)]
mod tests;
