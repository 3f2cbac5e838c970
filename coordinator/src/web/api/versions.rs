//! What is done to versions and asked of them: aliases, deprecation, signatures, lineage, card, difference.

use axum::{
    Json,
    extract::{Path, State},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use clara_lifecycle::adapter::{Alias, Expected};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Answer, Asked, Body, golden::parsed};
use crate::{
    control_service::{Control, LineageDocument},
    difference::Difference,
    registry::{AdapterView, AliasChange, Deprecate},
    web::Problem,
};

/// Where an alias shall point.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AliasBody {
    /// A version, an id or a query within the family; nothing takes the alias away.
    to: Option<String>,
    /// What it must point at now; empty for nothing, left out for anything.
    expected: Option<String>,
    actor: String,
    reason: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Moved {
    adapter: Option<AdapterView>,
    before: Option<String>,
}

pub(super) async fn move_alias(
    State(control): State<Control>,
    Path((family_id, alias)): Path<(String, String)>,
    Body(AliasBody { to, expected, actor, reason }): Body<AliasBody>,
) -> Answer<Moved> {
    let alias: Alias = parsed(&alias)?;
    let expected = match expected {
        None => Expected::Anything,
        Some(id) if id.is_empty() => Expected::Nothing,
        Some(id) => Expected::Version(id),
    };
    let wish = AliasChange { family_id, alias, to, expected, actor, reason };
    let (adapter, before) = control.driver.move_alias(&wish).await?;
    Ok(Json(Moved { adapter, before }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeprecateBody {
    actor: String,
    reason: String,
    successor: Option<String>,
    #[serde(default)]
    force: bool,
}

pub(super) async fn deprecate(
    State(control): State<Control>,
    Path(adapter): Path<String>,
    Body(DeprecateBody { actor, reason, successor, force }): Body<DeprecateBody>,
) -> Answer<AdapterView> {
    let wish = Deprecate { actor, reason, successor, force };
    Ok(Json(control.driver.deprecate(&adapter, &wish).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignBody {
    actor: String,
    /// A sigstore bundle over the version's files; left out to sign with the coordinator's key.
    bundle: Option<Value>,
}

pub(super) async fn sign(
    State(control): State<Control>,
    Path(adapter): Path<String>,
    Body(SignBody { actor, bundle }): Body<SignBody>,
) -> Answer<AdapterView> {
    Ok(Json(control.driver.sign(&adapter, &actor, bundle).await?))
}

pub(super) async fn lineage(
    State(control): State<Control>,
    Path(adapter): Path<String>,
) -> Answer<LineageDocument> {
    Ok(Json(control.lineage(&adapter).await?))
}

/// The licence to write into the card.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CardQuery {
    licence: Option<String>,
}

/// The card as Markdown.
pub(super) async fn card(
    State(control): State<Control>,
    Path(adapter): Path<String>,
    Asked(CardQuery { licence }): Asked<CardQuery>,
) -> Result<Response, Problem> {
    let view = control.driver.adapter(&adapter).await?;
    let card = control.model_card(&view, licence.as_deref()).await?;
    Ok(([(CONTENT_TYPE, "text/markdown; charset=utf-8")], card).into_response())
}

/// The newer version that is compared with the one of the path.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiffQuery {
    to: String,
}

pub(super) async fn diff(
    State(control): State<Control>,
    Path(adapter): Path<String>,
    Asked(DiffQuery { to }): Asked<DiffQuery>,
) -> Answer<Difference> {
    Ok(Json(control.difference(&adapter, &to).await?))
}
