//! Reviews: the queue, a version, one of its answers, and what reviewers do.

use axum::{
    Json,
    extract::{Path, State},
};
use clara_lifecycle::review::{QueuedReview, ReviewChange, ReviewItem, ReviewSheet, SavedReview};
use serde::Deserialize;

use super::{Answer, Asked, Body};
use crate::control_service::Control;

/// Who reviews; empty for nobody in particular.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct By {
    reviewer: String,
}

pub(super) async fn list(
    State(control): State<Control>,
    Asked(By { reviewer }): Asked<By>,
) -> Answer<Vec<QueuedReview>> {
    Ok(Json(control.reviews.queue(&reviewer).await?))
}

pub(super) async fn show(
    State(control): State<Control>,
    Path(adapter): Path<String>,
    Asked(By { reviewer }): Asked<By>,
) -> Answer<ReviewSheet> {
    Ok(Json(control.reviews.sheet(&adapter, &reviewer).await?))
}

pub(super) async fn answer(
    State(control): State<Control>,
    Path((adapter, sample)): Path<(String, String)>,
    Asked(By { reviewer }): Asked<By>,
) -> Answer<ReviewItem> {
    Ok(Json(control.reviews.item(&adapter, &sample, &reviewer).await?))
}

/// A change, and who makes it.
#[derive(Debug, Deserialize)]
pub(super) struct ChangeBody {
    reviewer: String,
    #[serde(flatten)]
    change: ReviewChange,
}

pub(super) async fn save(
    State(control): State<Control>,
    Path(adapter): Path<String>,
    Body(ChangeBody { reviewer, change }): Body<ChangeBody>,
) -> Answer<SavedReview> {
    Ok(Json(control.reviews.save(&adapter, &reviewer, &change).await?))
}
