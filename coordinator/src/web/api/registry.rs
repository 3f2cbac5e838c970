//! Versions, reviews, the audit log, export and import.

use axum::{
    Json,
    extract::{Path, State},
};
use clara_lifecycle::{
    adapter::{AdapterStatus, RegistryFile},
    audit::AuditEntry,
    id::{Domain, JobId},
    job::Verdict,
    spec::Method,
};
use serde::{Deserialize, Serialize};

use super::{Answer, Asked, Body};
use crate::{
    control_service::Control,
    driver::DriverError,
    registry::{AdapterFilter, AdapterView, Review},
};

/// Which versions are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListQuery {
    domain: Option<Domain>,
    method: Option<Method>,
    status: Option<AdapterStatus>,
    /// A range of versions, e.g. `^1.2`.
    version: Option<semver::VersionReq>,
}

pub(super) async fn list(
    State(control): State<Control>,
    Asked(ListQuery { domain, method, status, version }): Asked<ListQuery>,
) -> Answer<Vec<AdapterView>> {
    let filter = AdapterFilter { domain, method, status, range: version };
    Ok(Json(control.driver.adapters(&filter).await?))
}

pub(super) async fn show(State(control): State<Control>, Path(adapter): Path<String>) -> Answer<AdapterView> {
    Ok(Json(control.driver.adapter(&adapter).await?))
}

/// A verdict, with who and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReviewBody {
    verdict: Verdict,
    actor: String,
    reason: String,
    /// Revision of the review that the actor has seen.
    #[serde(default)]
    review_revision: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Reviewed {
    #[serde(flatten)]
    adapter: AdapterView,
    /// The job that goes on, if one was in review.
    job: Option<JobId>,
    /// Why the version is not decided yet, if somebody else must approve it too.
    waits: Option<String>,
}

pub(super) async fn review(
    State(control): State<Control>,
    Path(adapter): Path<String>,
    Body(ReviewBody { verdict, actor, reason, review_revision }): Body<ReviewBody>,
) -> Answer<Reviewed> {
    let reviewed =
        control.reviews.decide(&adapter, Review { verdict, actor, reason }, review_revision).await?;
    Ok(Json(Reviewed { adapter: reviewed.view, job: reviewed.job, waits: reviewed.waits }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuditQuery {
    adapter: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Audit {
    entries: Vec<AuditEntry>,
    broken_chain: Option<String>,
    broken_at: Option<u64>,
}

pub(super) async fn audit(
    State(control): State<Control>,
    Asked(AuditQuery { adapter }): Asked<AuditQuery>,
) -> Answer<Audit> {
    let (entries, broken) = control.driver.audit_log(adapter.as_deref()).await?;
    let (broken_chain, broken_at) = broken.unzip();
    Ok(Json(Audit { entries, broken_chain, broken_at }))
}

pub(super) async fn export(State(control): State<Control>) -> Answer<RegistryFile> {
    Ok(Json(control.driver.export_registry().await?))
}

/// Who acts, for the audit log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Actor {
    pub(super) actor: String,
}

impl Actor {
    /// The name, if it is one.
    pub(super) fn name(&self) -> Result<&str, DriverError> {
        let name = self.actor.trim();
        (!name.is_empty())
            .then_some(name)
            .ok_or_else(|| DriverError::Invalid("`actor` is empty; say who acts".into()))
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Imported {
    imported: u32,
    unchanged: u32,
}

pub(super) async fn import(
    State(control): State<Control>,
    Asked(by): Asked<Actor>,
    Body(file): Body<RegistryFile>,
) -> Answer<Imported> {
    let (imported, unchanged) = control.driver.import_registry(file, by.name()?).await?;
    Ok(Json(Imported { imported, unchanged }))
}
