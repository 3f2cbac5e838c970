//! Training datasets.

use std::path::Path as FilePath;

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{Answer, Asked};
use crate::{
    control_service::{Control, datasets::DatasetDocument},
    datasets::DatasetView,
    driver::DriverError,
    web::Problem,
};

/// Which datasets are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListQuery {
    domain: Option<String>,
    limit: usize,
}

pub(super) async fn list(
    State(control): State<Control>,
    Asked(ListQuery { domain, limit }): Asked<ListQuery>,
) -> Answer<Vec<DatasetView>> {
    let domain = domain.filter(|domain| !domain.is_empty()).map(|domain| domain.parse()).transpose();
    let domain = domain.map_err(|error| DriverError::Invalid(format!("{error}")))?;
    Ok(Json(control.driver.datasets(domain.as_ref(), limit).await?))
}

pub(super) async fn show(
    State(control): State<Control>,
    Path(dataset): Path<String>,
) -> Answer<DatasetDocument> {
    Ok(Json(control.dataset(&dataset).await?))
}

/// A file as it is stored.
pub(super) async fn file(
    State(control): State<Control>,
    Path((dataset, file)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let parts = control.dataset_file(&dataset, &file).await?;
    let kind = match FilePath::new(&file).extension().and_then(|extension| extension.to_str()) {
        Some("json") => "application/json",
        Some("jsonl") => "application/x-ndjson",
        Some("md") => "text/markdown; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let headers = [
        (CONTENT_TYPE, kind),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ];
    Ok((headers, Body::from_stream(parts)).into_response())
}
