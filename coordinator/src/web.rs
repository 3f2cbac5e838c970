//! The web page and the REST interface: server-rendered HTML and JSON over the same calls as gRPC.

mod api;
mod assets;
mod evaluation;
mod golden;
mod guard;
mod home;
mod job;
mod job_words;
mod jobs;
mod marked;
mod page;
mod problem;
mod reference;
mod registry;
mod review;
mod served;
mod visitor;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef},
    middleware,
    routing::{get, post},
};
use clara_runtime::config::PageAudience;
use tokio::sync::Semaphore;

use crate::control_service::Control;

pub(crate) use page::{Page, Section};
pub(crate) use problem::{PageError, Problem};
pub(crate) use visitor::{SignedForm, Visitor};

/// As over gRPC.
const LARGEST_BODY_BYTES: usize = 64 << 20;
/// Streams that are followed at the same time, so that they leave connections to others.
const MOST_FOLLOWERS: usize = 256;

/// What the pages work with; most take the [`Control`] alone.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    control: Control,
    followers: Arc<Semaphore>,
}

impl FromRef<Site> for Control {
    fn from_ref(site: &Site) -> Self {
        site.control.clone()
    }
}

/// Everything that browsers and REST clients are answered; nothing for nobody.
pub(crate) fn router(control: &Control, audience: PageAudience) -> Option<Router> {
    let guard = guard::Guard::for_audience(audience)?;
    let site = Site { control: control.clone(), followers: Arc::new(Semaphore::new(MOST_FOLLOWERS)) };
    let pages = Router::new()
        .route("/", get(home::show))
        .route("/name", get(visitor::ask).post(visitor::keep))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{job}", get(job::show))
        .route("/jobs/{job}/cancel", post(job::cancel))
        .route("/jobs/{job}/retry", post(job::retry))
        .merge(registry::routes())
        .route("/golden", get(golden::list))
        .route("/golden/{reference}", get(golden::show))
        .route("/api", get(reference::show))
        .route("/openapi.json", get(reference::openapi))
        .merge(assets::routes())
        .merge(review::routes())
        .nest(api::PREFIX, api::routes())
        .fallback(problem::no_such_page)
        .method_not_allowed_fallback(problem::wrong_method)
        .with_state(site);
    let pages = pages.layer(DefaultBodyLimit::max(LARGEST_BODY_BYTES));
    Some(pages.layer(middleware::from_fn_with_state(guard, guard::watch)))
}

#[cfg(test)]
mod tests;
