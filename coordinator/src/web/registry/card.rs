//! The model card of a version as a page.

mod markdown;

use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use maud::html;
use serde::Deserialize;

use crate::{
    control_service::Control,
    web::{Page, PageError, Section, Visitor},
};

/// The licence to write into the card.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    licence: String,
}

pub(super) async fn show(
    State(control): State<Control>,
    visitor: Visitor,
    Path(adapter): Path<String>,
    Query(Asked { licence }): Query<Asked>,
) -> Result<Response, PageError> {
    let licence = Some(licence.trim()).filter(|licence| !licence.is_empty());
    let view = control.driver.adapter(&adapter).await?;
    let card = control.model_card(&view, licence).await?;
    let id = &view.version.adapter_id;
    let query = serde_urlencoded::to_string(licence.map(|licence| ("licence", licence)).as_slice());
    let file = format!("/api/v1/adapters/{id}/card?{}", query.unwrap_or_default());
    let body = html! {
        p { a href={ "/registry/" (id) } { (id) } " · " a href=(file) download={ (id) ".md" } { "as Markdown" } }
        form.filter method="get" {
            label { "Licence, as Hugging Face names it " input name="licence" value=[licence] placeholder="unknown"; }
            button.quiet { "Write" }
        }
        section.card.model-card { (markdown::show(&card)) }
    };
    Ok(Page::new(format!("Model card of {id}"), Section::Registry).show(&visitor, &body))
}
