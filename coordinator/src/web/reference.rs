//! The page about the REST interface, and its description for programs.

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use serde_json::Value;

use super::{Page, PageError, Section, Visitor, problem::KINDS};
use crate::{driver::DriverError, records::from_json};

/// `OpenAPI` 3.1; tests hold it against the router and against documents.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// The page, made of the description.
pub(super) async fn show(visitor: Visitor) -> Result<Response, PageError> {
    let described: Value = from_json("openapi.json", OPENAPI).map_err(|error: DriverError| error)?;
    let paths = described.get("paths").and_then(Value::as_object);
    let body = html! {
        h1 { "REST interface" }
        p {
            "The same documents as " code { "clara … -o json" } ", described for programs in "
            a href="/openapi.json" { "openapi.json" } " (OpenAPI 3.1). Writes need " code { "Content-Type: application/json" } "."
        }
        section.card {
            table {
                thead { tr { th { "call" } th { "what it does" } } }
                tbody {
                    @for (path, item) in paths.into_iter().flatten() {
                        @for (method, operation) in item.as_object().into_iter().flatten().filter(|(name, _)| *name != "parameters") {
                            (call(path, method, operation))
                        }
                    }
                }
            }
        }
        section.card {
            h2 { "Problems" }
            p.faint { "Errors are RFC 9457 problem documents, application/problem+json; their type leads here." }
            table { tbody { @for (name, status, title) in KINDS {
                tr id=(name) { td { code { (name) } } td { (status.as_u16()) } td { (title) } }
            } } }
        }
    };
    Ok(Page::new("REST interface", Section::Api).show(&visitor, &body))
}

fn call(path: &str, method: &str, operation: &Value) -> Markup {
    let said = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default();
    html! {
        tr id=(said("operationId")) {
            td { code { b { (method.to_uppercase()) } " " (path) } }
            td { (said("summary")) @if !said("description").is_empty() { br; span.faint { (said("description")) } } }
        }
    }
}

#[cfg(test)]
mod tests;
