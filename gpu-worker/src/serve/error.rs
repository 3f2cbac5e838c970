//! Errors in the shape that OpenAI clients expect.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{engine::EngineError, text::TextError};

/// A refused or failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    /// The parameter at fault.
    pub(super) param: Option<String>,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl ApiError {
    /// A request that must be changed before it is sent again.
    pub(super) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            param: Some(param.to_owned()),
            code: "invalid_value",
            message: message.into(),
        }
    }

    /// A parameter or value that this server does not know.
    pub(super) fn unsupported(param: &str, message: impl Into<String>) -> Self {
        Self { code: "unsupported_parameter", ..Self::invalid(param, message) }
    }

    pub(super) fn unknown_model(name: &str, known: &[String]) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            param: Some("model".into()),
            code: "model_not_found",
            message: format!("the model `{name}` does not exist; served are {}", known.join(", ")),
        }
    }

    pub(super) fn other(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, param: None, code, message: message.into() }
    }

    /// The body of the reply.
    pub(super) fn body(&self) -> serde_json::Value {
        let kind = if self.status.is_server_error() { "server_error" } else { "invalid_request_error" };
        json!({ "error": { "message": self.message, "type": kind, "param": self.param, "code": self.code } })
    }
}

impl From<TextError> for ApiError {
    fn from(error: TextError) -> Self {
        let message = error.to_string();
        match error {
            TextError::EmptyPrompt => Self::invalid("messages", message),
            TextError::TooLong { .. } => {
                Self { code: "context_length_exceeded", ..Self::invalid("messages", message) }
            }
            TextError::Busy { .. } => Self::other(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message),
            TextError::Ended => Self::other(StatusCode::SERVICE_UNAVAILABLE, "stopped", message),
            TextError::Engine(EngineError::UnknownAdapter { name }) => Self {
                status: StatusCode::NOT_FOUND,
                param: Some("model".into()),
                code: "model_not_found",
                message: format!("the model `{name}` is no longer served"),
            },
            TextError::NotFinite { .. }
            | TextError::GuideStuck { .. }
            | TextError::Engine(_)
            | TextError::Thread { .. } => {
                tracing::error!(%message, "cannot answer a request");
                Self::other(StatusCode::INTERNAL_SERVER_ERROR, "generation_failed", message)
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
