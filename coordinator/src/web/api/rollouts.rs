//! Rollout by hand, rollback, and what is served.

use axum::{
    Json,
    extract::{Path, State},
};
use clara_lifecycle::{results::TargetRollout, served::ServedTarget};
use serde::{Deserialize, Serialize};

use super::{Answer, Asked, Body};
use crate::{
    control_service::Control,
    rollout::{RollBack, Went},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RollOutBody {
    /// Names in the settings; none for those on which the family is served.
    #[serde(default)]
    targets: Vec<String>,
    /// Whether the version becomes the champion afterwards.
    #[serde(default)]
    promote: bool,
    actor: String,
    reason: String,
}

#[derive(Debug, Serialize)]
pub(super) struct RolledOut {
    adapter_id: String,
    targets: Vec<TargetRollout>,
    champion: Option<String>,
}

/// Answers when the version is served everywhere, or nowhere.
pub(super) async fn roll_out(
    State(control): State<Control>,
    Path(adapter): Path<String>,
    Body(RollOutBody { targets, promote, actor, reason }): Body<RollOutBody>,
) -> Answer<RolledOut> {
    let by = (actor.as_str(), reason.as_str());
    let done = Box::pin(control.rollouts.roll_out_by_hand(&adapter, &targets, promote, by)).await?;
    let (adapter_id, targets, champion) = done;
    Ok(Json(RolledOut { adapter_id, targets, champion }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RollBackBody {
    /// The version to go back to; else the champion before.
    to: Option<String>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    actor: String,
    #[serde(default)]
    reason: String,
}

pub(super) async fn roll_back(
    State(control): State<Control>,
    Path(family_id): Path<String>,
    Body(RollBackBody { to, dry_run, force, actor, reason }): Body<RollBackBody>,
) -> Answer<Went> {
    let asked = RollBack { family_id, to, dry_run, force, actor, reason };
    Ok(Json(control.rollouts.roll_back(&asked).await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ServedQuery {
    /// Asks the replicas now instead of telling what was seen last.
    fresh: bool,
}

pub(super) async fn served(
    State(control): State<Control>,
    Asked(ServedQuery { fresh }): Asked<ServedQuery>,
) -> Answer<Vec<ServedTarget>> {
    Ok(Json(if fresh { control.rollouts.look().await? } else { control.driver.served().await? }))
}
