//! Golden datasets.

use axum::{
    Json,
    extract::{Path, State},
};
use clara_lifecycle::{
    golden::GoldenDataset,
    id::{GoldenDatasetId, GoldenReference},
};
use serde::{Deserialize, Serialize};

use super::{Answer, Asked, Body, registry::Actor};
use crate::{control_service::Control, driver::DriverError, golden::Golden, web::Problem};

/// A golden dataset, and its digest when it is frozen.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    #[serde(flatten)]
    dataset: GoldenDataset,
    frozen: bool,
    digest: Option<String>,
}

impl From<Golden> for Document {
    fn from(golden: Golden) -> Self {
        match golden {
            Golden::Draft(dataset) => Self { dataset, frozen: false, digest: None },
            Golden::Frozen(version) => {
                Self { dataset: version.dataset, frozen: true, digest: Some(version.digest.to_string()) }
            }
        }
    }
}

pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, DriverError> {
    text.parse().map_err(|error: T::Err| DriverError::Invalid(error.to_string()))
}

pub(super) async fn list(State(control): State<Control>) -> Answer<Vec<Document>> {
    Ok(Json(control.driver.all_golden().await?.into_iter().map(Document::from).collect()))
}

pub(super) async fn show(State(control): State<Control>, Path(reference): Path<String>) -> Answer<Document> {
    let reference: GoldenReference = parsed(&reference)?;
    Ok(Json(control.driver.golden(&reference).await?.into()))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WriteQuery {
    append: bool,
}

/// Creates or changes the draft.
pub(super) async fn write(
    State(control): State<Control>,
    Path(id): Path<String>,
    Asked(WriteQuery { append }): Asked<WriteQuery>,
    Body(dataset): Body<GoldenDataset>,
) -> Answer<Document> {
    let id: GoldenDatasetId = parsed(&id)?;
    if dataset.dataset_id != id {
        let found = dataset.dataset_id;
        return Err(Problem::bad_request(&format!(
            "the body is dataset {found}; expected {id}, as in the path"
        )));
    }
    Ok(Json(Golden::Draft(control.driver.put_golden(dataset, append).await?).into()))
}

#[derive(Debug, Serialize)]
pub(super) struct Frozen {
    reference: String,
    digest: String,
}

/// Makes the draft an immutable version.
pub(super) async fn freeze(
    State(control): State<Control>,
    Path(id): Path<String>,
    Body(by): Body<Actor>,
) -> Answer<Frozen> {
    let frozen = control.driver.freeze_golden(&parsed(&id)?, by.name()?, &control.artifacts).await?;
    Ok(Json(Frozen { reference: frozen.dataset.reference().to_string(), digest: frozen.digest.to_string() }))
}
