//! Errors as RFC 9457 problem documents for programs, and as pages for people.

use std::borrow::Cow;

use axum::{
    Json,
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use clara_lifecycle::review::ReviewError;
use clara_runtime::state::StateError;
use maud::html;
use serde::Serialize;

use super::{Page, Section, Visitor, api};
use crate::driver::DriverError;

/// What went wrong, as RFC 9457 has it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Problem {
    /// Where the kind is described.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: Cow<'static, str>,
    /// What is wrong with a specification, field by field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<FieldProblem>,
}

#[derive(Debug, Clone, Serialize)]
struct FieldProblem {
    field: &'static str,
    message: String,
}

/// The kinds of problems, with status and title; `/api` lists them.
pub(super) const KINDS: [(&str, StatusCode, &str); 13] = [
    ("invalid_request", StatusCode::BAD_REQUEST, "The request cannot be carried out as it stands"),
    ("forbidden", StatusCode::FORBIDDEN, "The request is not taken from here"),
    ("unknown", StatusCode::NOT_FOUND, "There is no such thing"),
    ("wrong_method", StatusCode::METHOD_NOT_ALLOWED, "The path does not take this method"),
    ("not_applicable", StatusCode::CONFLICT, "It does not apply to the present state"),
    ("too_large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
    ("wrong_content_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be JSON"),
    ("invalid_specification", StatusCode::UNPROCESSABLE_ENTITY, "The specification is not valid"),
    ("damaged", StatusCode::INTERNAL_SERVER_ERROR, "A record cannot be used"),
    ("missing_files", StatusCode::BAD_GATEWAY, "The artifact store failed"),
    ("not_verified", StatusCode::CONFLICT, "Files or a signature are not what was registered"),
    ("rollout_failed", StatusCode::BAD_GATEWAY, "A server did not take the version"),
    ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "The server cannot answer now"),
];

impl Problem {
    fn new(name: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let (status, title) = KINDS
            .iter()
            .find(|(kind, ..)| *kind == name)
            .map_or((StatusCode::INTERNAL_SERVER_ERROR, "Something failed"), |(_, status, title)| {
                (*status, *title)
            });
        Self {
            kind: format!("/api#{name}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            problems: Vec::new(),
        }
    }

    pub(crate) fn bad_request(detail: &str) -> Self {
        Self::new("invalid_request", detail.to_owned())
    }

    pub(super) fn forbidden(detail: &'static str) -> Self {
        Self::new("forbidden", detail)
    }

    /// A body that cannot be read, as the extractor says.
    pub(super) fn of_body(status: StatusCode, detail: String) -> Self {
        let kind = match status {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "wrong_content_type",
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            _ => "invalid_request",
        };
        Self::new(kind, detail)
    }

    pub(super) fn busy(detail: &'static str) -> Self {
        Self::new("unavailable", detail)
    }

    pub(crate) fn unknown(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new("unknown", detail)
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<DriverError> for Problem {
    fn from(error: DriverError) -> Self {
        let detail = error.to_string();
        match error {
            DriverError::UnknownJob { .. }
            | DriverError::UnknownGolden { .. }
            | DriverError::UnknownDataset { .. }
            | DriverError::UnknownAdapter { .. }
            | DriverError::Review(ReviewError::UnknownSample { .. }) => Self::new("unknown", detail),
            DriverError::Spec(problems) => {
                let problems = problems.into_iter();
                let problems =
                    problems.map(|problem| FieldProblem { field: problem.field, message: problem.message });
                Self { problems: problems.collect(), ..Self::new("invalid_specification", detail) }
            }
            DriverError::Rejected(_)
            | DriverError::Review(ReviewError::Conflict { .. })
            | DriverError::Alias(_)
            | DriverError::FourEyes(_)
            | DriverError::Rollback(_)
            | DriverError::Registration(_)
            | DriverError::Status(_)
            | DriverError::State(StateError::Conflict { .. }) => Self::new("not_applicable", detail),
            DriverError::Invalid(_) | DriverError::Import(_) | DriverError::Review(_) => {
                Self::new("invalid_request", detail)
            }
            DriverError::State(error) if error.is_retryable() => Self::new("unavailable", detail),
            DriverError::State(_) | DriverError::Record { .. } => Self::new("damaged", detail),
            DriverError::Artifact(_) => Self::new("missing_files", detail),
            DriverError::Rollout(_) => Self::new("rollout_failed", detail),
            DriverError::Signature(_) | DriverError::NotVerified { .. } => Self::new("not_verified", detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!("a request was not carried out: {}", self.detail);
        }
        let mut answer = (status, Json(self)).into_response();
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
        }
        answer
    }
}

/// An error that people see as a page.
#[derive(Debug)]
pub(crate) struct PageError(Problem);

impl PageError {
    pub(crate) fn not_found() -> Self {
        Self(Problem::unknown("there is no such page"))
    }
}

impl From<Problem> for PageError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<DriverError> for PageError {
    fn from(error: DriverError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        if problem.status().is_server_error() {
            tracing::warn!("a page cannot be shown: {}", problem.detail);
        }
        let body = html! { h1 { (problem.title) } p.text { (problem.detail) } };
        let page = Page::new(problem.title, Section::None).show(&Visitor::default(), &body);
        (problem.status(), page).into_response()
    }
}

/// What a path is answered that leads nowhere.
pub(super) async fn no_such_page(uri: Uri) -> Response {
    if uri.path().starts_with(api::PREFIX) {
        return Problem::unknown(format!("there is no {}; /openapi.json lists all paths", uri.path()))
            .into_response();
    }
    PageError::not_found().into_response()
}

/// What a path is answered that takes other methods.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Response {
    Problem::new("wrong_method", format!("{} does not take {method}; see /openapi.json", uri.path()))
        .into_response()
}
