//! Human labels and calibrations.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Json,
    extract::{Path, State},
};
use clara_lifecycle::{
    label::{HumanLabel, LabelSource, NewLabel},
    score::Criterion,
};
use serde::{Deserialize, Serialize};

use super::{Answer, Asked, Body, registry::Actor};
use crate::{calibration::CalibrationView, change::time_text, control_service::Control, driver::DriverError};

/// What a person says about an answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelBody {
    sample_id: String,
    /// From 0 to 10; criteria that are left out are not judged by the person.
    scores: BTreeMap<Criterion, f64>,
    actor: String,
    #[serde(default)]
    reason: String,
}

pub(super) async fn put(
    State(control): State<Control>,
    Path(adapter): Path<String>,
    Body(LabelBody { sample_id, scores, actor, reason }): Body<LabelBody>,
) -> Answer<HumanLabel> {
    let at = time_text(control.driver.records.state.now().await.map_err(DriverError::from)?);
    let new = NewLabel { sample_id, scores, actor, reason, at, source: LabelSource::Label };
    Ok(Json(control.label(&adapter, new).await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListQuery {
    adapter: Option<String>,
}

pub(super) async fn list(
    State(control): State<Control>,
    Asked(ListQuery { adapter }): Asked<ListQuery>,
) -> Answer<Vec<HumanLabel>> {
    let mut labels = control.driver.labels().await?;
    labels.retain(|label| adapter.as_ref().is_none_or(|adapter| label.adapter_id == *adapter));
    Ok(Json(labels))
}

#[derive(Debug, Serialize)]
pub(super) struct Calibrated {
    calibrations: Vec<CalibrationView>,
    /// Judges with labels whose evaluation cannot be read; they got no calibration.
    unknown_judges: BTreeSet<String>,
}

pub(super) async fn calibrate(State(control): State<Control>, Body(by): Body<Actor>) -> Answer<Calibrated> {
    let (calibrations, unknown_judges) = control.calibrate_all(by.name()?).await?;
    Ok(Json(Calibrated { calibrations, unknown_judges }))
}

pub(super) async fn calibrations(State(control): State<Control>) -> Answer<Vec<CalibrationView>> {
    Ok(Json(control.driver.calibrations().await?))
}
