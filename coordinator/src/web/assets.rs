//! Style sheet, scripts and icon, built into the program.

use axum::{
    Router,
    extract::Path,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};

use super::Site;
use super::problem::PageError;

struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static str,
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// One file, so that a page waits for one.
const STYLE: &str = concat!(include_str!("assets/clara.css"), include_str!("assets/review.css"));

const ASSETS: [Asset; 4] = [
    Asset { name: "clara.css", kind: CSS, content: STYLE },
    Asset { name: "clara.js", kind: JS, content: include_str!("assets/clara.js") },
    Asset { name: "review.js", kind: JS, content: include_str!("assets/review.js") },
    Asset { name: "icon.svg", kind: "image/svg+xml", content: include_str!("assets/icon.svg") },
];

/// The path of a file, which changes with every version of the program.
pub(super) fn versioned(name: &str) -> String {
    format!("/assets/{name}?v={}", env!("CARGO_PKG_VERSION"))
}

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/assets/{name}", get(file))
}

async fn file(Path(name): Path<String>) -> Result<Response, PageError> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(PageError::not_found)?;
    let headers = [(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, "max-age=600")];
    Ok((headers, asset.content).into_response())
}
