//! Which path answers what.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State, rejection::BytesRejection},
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{adapters, error::ApiError, request, response, state::Service, stream};

/// Largest request body in bytes.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// All paths of the server.
pub(super) fn router(service: Arc<Service>) -> Router {
    let mut router = Router::new();
    if service.loads() {
        router = router
            .route("/v1/load_lora_adapter", post(adapters::load))
            .route("/v1/unload_lora_adapter", post(adapters::unload));
    }
    router
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/health", get(health))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(service)
}

async fn chat_completions(
    State(service): State<Arc<Service>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body.map_err(|error| ApiError::other(error.status(), "unreadable_body", error.body_text()))?;
    let request = request::read(&body, &service)?;
    let generation = service.engine.generate(request.text.clone())?;
    if request.stream {
        return Ok(stream::parts(service, &request, generation).into_response());
    }
    Ok(response::whole(&service, request, generation).await?.into_response())
}

async fn models(State(service): State<Arc<Service>>) -> Json<Value> {
    Json(json!({ "object": "list", "data": served(&service) }))
}

async fn model(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let mut models = served(&service);
    let known: Vec<String> =
        models.iter().filter_map(|model| model.get("id")?.as_str().map(str::to_owned)).collect();
    match known.iter().position(|id| *id == name) {
        Some(index) => Ok(Json(models.swap_remove(index))),
        None => Err(ApiError::unknown_model(&name, &known)),
    }
}

/// The base model, then the adapters by name.
fn served(service: &Service) -> Vec<Value> {
    let length = service.engine.model().context_length;
    let entry = |id: &str, created: i64, root: &str, parent: Option<&str>| {
        json!({
            "id": id, "object": "model", "created": created, "owned_by": "clara",
            "root": root, "parent": parent, "max_model_len": length,
        })
    };
    let base = service.base_name();
    let mut models = vec![entry(base, service.started_at(), &service.model.base.name, None)];
    for (name, adapter) in service.adapters() {
        models.push(entry(&name, adapter.added_at, &adapter.folder.to_string_lossy(), Some(base)));
    }
    models
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

async fn unknown_path(uri: Uri) -> ApiError {
    let message =
        format!("no such path: {}; served are /v1/chat/completions, /v1/models and /health", uri.path());
    ApiError::other(StatusCode::NOT_FOUND, "unknown_path", message)
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not answer {method}", uri.path());
    ApiError::other(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message)
}
