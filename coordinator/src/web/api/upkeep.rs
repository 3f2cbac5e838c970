//! Whether the registry and its audit log are whole, and what can be removed.

use axum::{Json, extract::State};
use clara_runtime::config::HumanDuration;
use serde::Deserialize;

use super::{Answer, Body};
use crate::{
    control_service::{Control, GRACE},
    driver::DriverError,
    registry::{AuditVerification, GarbageOptions, GarbageReport, Verification, signature::PublicKey},
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct VerifyBody {
    /// Only this version.
    adapter: Option<String>,
    /// PEM; the coordinator's own key when it is left out.
    public_key: Option<String>,
}

pub(super) async fn verify(
    State(control): State<Control>,
    Body(VerifyBody { adapter, public_key }): Body<VerifyBody>,
) -> Answer<Verification> {
    let key = public_key.map(|pem| PublicKey::from_pem("the public key", &pem));
    let key = key.transpose().map_err(|error| DriverError::Invalid(error.to_string()))?;
    let found = control.driver.verify_registry(adapter.as_deref(), key.as_ref(), &control.artifacts).await?;
    Ok(Json(found))
}

pub(super) async fn verify_audit(State(control): State<Control>) -> Answer<AuditVerification> {
    Ok(Json(control.driver.verify_audit().await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GarbageBody {
    /// Removes; otherwise it is only told what would be removed.
    remove: bool,
    grace: Option<HumanDuration>,
    jobs_older_than: Option<HumanDuration>,
}

pub(super) async fn collect(
    State(control): State<Control>,
    Body(GarbageBody { remove, grace, jobs_older_than }): Body<GarbageBody>,
) -> Answer<GarbageReport> {
    let options = GarbageOptions {
        dry_run: !remove,
        grace: grace.map_or(GRACE, |grace| grace.0),
        jobs_older_than: jobs_older_than.map(|age| age.0),
    };
    Ok(Json(control.driver.collect_garbage(options, &control.artifacts).await?))
}
