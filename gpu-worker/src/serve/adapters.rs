//! Adapters that come and go while the server runs, by the calls that vLLM has for it.

use std::{path::PathBuf, sync::Arc};

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{ServeError, error::ApiError, state::Service};
use crate::{engine::EngineError, text::TextError};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Load {
    lora_name: String,
    /// A PEFT folder; below the folder that the server was started with, and relative to it unless it is absolute.
    lora_path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unload {
    lora_name: String,
}

/// `POST /v1/load_lora_adapter`.
pub(super) async fn load(
    State(service): State<Arc<Service>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<String, ApiError> {
    let Load { lora_name, lora_path } = read(body)?;
    if lora_name.is_empty() {
        return Err(ApiError::invalid("lora_name", "lora_name is empty; give the adapter a name"));
    }
    let folder = service.allowed(&lora_path).map_err(|problem| ApiError::invalid("lora_path", problem))?;
    let _changing = service.changing.lock().await;
    if let Some(served) = service.adapters().get(&lora_name) {
        let message = if served.folder == folder {
            format!("the adapter `{lora_name}` has already been loaded")
        } else {
            format!(
                "the name `{lora_name}` belongs to the adapter in {}; unload it first, or choose another name",
                served.folder.display()
            )
        };
        return Err(ApiError::invalid("lora_name", message));
    }
    service.add_adapter(&lora_name, &folder).await.map_err(refused)?;
    tracing::info!(adapter = lora_name, folder = %folder.display(), "loaded an adapter");
    Ok(format!("loaded the adapter `{lora_name}`"))
}

/// `POST /v1/unload_lora_adapter`.
pub(super) async fn unload(
    State(service): State<Arc<Service>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<String, ApiError> {
    let Unload { lora_name } = read(body)?;
    let _changing = service.changing.lock().await;
    let served = service.adapters();
    if !served.contains_key(&lora_name) {
        let known: Vec<_> = served.into_keys().collect();
        return Err(ApiError::unknown_model(&lora_name, &known));
    }
    service.remove_adapter(&lora_name).await.map_err(refused)?;
    tracing::info!(adapter = lora_name, "unloaded an adapter");
    Ok(format!("unloaded the adapter `{lora_name}`"))
}

fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, ApiError> {
    let body = body.map_err(|error| ApiError::other(error.status(), "unreadable_body", error.body_text()))?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::other(StatusCode::BAD_REQUEST, "invalid_json", error.to_string()))
}

/// An adapter that answers cannot go yet; everything else is wrong with what was asked for.
fn refused(error: ServeError) -> ApiError {
    match error {
        ServeError::Text { source: TextError::Engine(EngineError::AdapterInUse { .. }), name } => {
            let message = format!("the adapter `{name}` is answering; try again when it has ended");
            ApiError::other(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message)
        }
        ServeError::Text { source: source @ (TextError::Busy { .. } | TextError::Ended), .. } => {
            source.into()
        }
        ServeError::NameTaken { .. } => ApiError::invalid("lora_name", error.to_string()),
        ServeError::Adapter { .. } | ServeError::Text { .. } => {
            ApiError::invalid("lora_path", error.to_string())
        }
        ServeError::Model(_)
        | ServeError::AdapterFolder { .. }
        | ServeError::Listen { .. }
        | ServeError::CutOff { .. } => {
            ApiError::other(StatusCode::INTERNAL_SERVER_ERROR, "load_failed", error.to_string())
        }
    }
}
